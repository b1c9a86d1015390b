//! moto under gunicorn with one worker that takes one request after the other: its conditional writes are atomic so.

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

/// Runs the program given until standard input ends; the socket to serve is the standard output.
const UNTIL_INPUT_ENDS: &str = r#"
if command -v setpriv >/dev/null; then set -- setpriv --pdeathsig TERM "$@"; fi
"$@" 3>&1 >&2 </dev/null &
trap 'kill $! 2>/dev/null' EXIT
# Connections are refused, rather than left waiting, if the server ends.
exec >&2
read -r _
"#;

#[derive(Debug)]
struct Moto {
    /// Its standard input, a pipe, ends with this process, and that ends the server.
    _child: Child,
    log: File,
    port: u16,
}

static MOTO: Mutex<Option<Moto>> = Mutex::new(None);

/// The server of this process, which starts with the first call; the bucket is empty.
pub(super) fn connection() -> Connection {
    let mut guard = MOTO.lock().unwrap_or_else(PoisonError::into_inner);
    let moto = guard.get_or_insert_with(Moto::start);
    Connection {
        endpoint: format!("http://127.0.0.1:{}", moto.port),
        bucket: String::new(),
        // A bucket cannot be made for the region `auto`.
        region: "us-east-1".to_owned(),
        access_key_id: "test-access-key-id".to_owned(),
        secret_access_key: "test-secret-access-key".to_owned(),
    }
}

/// What the server has said.
pub(super) fn log() -> String {
    let mut log = String::new();
    if let Some(moto) = MOTO.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        // What cannot be read is left out: this is for an error message.
        let _ = moto.log.rewind().and_then(|()| moto.log.read_to_string(&mut log));
    }
    log
}

impl Moto {
    fn start() -> Moto {
        let gunicorn = virtual_environment().join("bin/gunicorn");
        assert!(gunicorn.is_file(), "moto is not installed: there is no {}; {INSTALL}", gunicorn.display());
        // The server gets the socket that listens: connections wait until it is up.
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
    // A relative path means the same as to the script, which runs in the repository's root.
    repository().join(chosen.unwrap_or_else(|| "target/s3-servers/venv".into()))
}
