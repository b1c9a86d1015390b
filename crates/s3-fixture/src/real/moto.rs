//! moto under gunicorn with a single worker that handles one request at a time, which makes its conditional
//! writes atomic.

use std::env;
use std::fs::File;
use std::io::{Read, Seek};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{INSTALL, repository};
use crate::Connection;

/// Runs the given program until standard input ends. The listening socket is passed as standard output.
const UNTIL_INPUT_ENDS: &str = r#"
if command -v setpriv >/dev/null; then set -- setpriv --pdeathsig TERM "$@"; fi
"$@" 3>&1 >&2 </dev/null &
trap 'kill $! 2>/dev/null' EXIT
# Close the socket here, so that connections are refused if the server ends.
exec >&2
read -r _
"#;

#[derive(Debug)]
struct Moto {
    /// The child's standard input is a pipe from this process; when this process ends, so does the server.
    _child: Child,
    log: File,
    port: u16,
}

static MOTO: Mutex<Option<Moto>> = Mutex::new(None);

/// How to connect to this process's server, which the first call starts. The bucket's name is empty.
pub(super) fn connection() -> Connection {
    let mut guard = MOTO.lock().unwrap_or_else(PoisonError::into_inner);
    let moto = guard.get_or_insert_with(Moto::start);
    Connection {
        endpoint: format!("http://127.0.0.1:{}", moto.port),
        bucket: String::new(),
        // moto rejects the region `auto` when a bucket is created.
        region: "us-east-1".to_owned(),
        access_key_id: "test-access-key-id".to_owned(),
        secret_access_key: "test-secret-access-key".to_owned(),
    }
}

/// The server's log so far.
pub(super) fn log() -> String {
    let mut log = String::new();
    if let Some(moto) = MOTO.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        // Best effort: this is only for an error message.
        let _ = moto.log.rewind().and_then(|()| moto.log.read_to_string(&mut log));
    }
    log
}

impl Moto {
    fn start() -> Moto {
        let gunicorn = virtual_environment().join("bin/gunicorn");
        assert!(gunicorn.is_file(), "moto is not installed: there is no {}; {INSTALL}", gunicorn.display());
        // The server inherits a listening socket, so connections wait until it has started.
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("the socket is bound").port();
        let log = tempfile::tempfile().expect("a temporary file can be made");
        let child = Command::new("sh")
            .args(["-c", UNTIL_INPUT_ENDS, "sh"])
            .arg(gunicorn)
            .args(["--workers", "1", "--worker-class", "sync", "--timeout", "300", "--bind", "fd://3"])
            .arg("moto.server:create_backend_app('s3')")
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(listener))
            .stderr(log.try_clone().expect("a file can be opened twice"))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run sh: {e}"));
        Moto { _child: child, log, port }
    }
}

fn virtual_environment() -> PathBuf {
    let chosen = env::var_os("COURTSIDE_S3_VENV").map(PathBuf::from);
    // A relative path is relative to the repository's root, as in the install script.
    repository().join(chosen.unwrap_or_else(|| "target/s3-servers/venv".into()))
}
