//! The Ceph cluster of this process, driven through the standard input of `scripts/s3/start_radosgw.sh`.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::{INSTALL, repository, run_folder};
use crate::Connection;

/// The programs that the script needs.
const PROGRAMS: [&str; 5] = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph"];

/// Whether Ceph's object gateway is installed.
pub fn is_installed() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    cfg!(target_os = "linux")
        && PROGRAMS.iter().all(|program| folders.iter().any(|f| f.join(program).is_file()))
}

/// A cluster and its gateways.
#[derive(Debug)]
pub(super) struct Cluster {
    /// How to connect to the first gateway, which no test uses. The bucket's name is empty.
    pub(super) connection: Connection,
    /// The script. Its standard input is a pipe from this process; when this process ends, so does the
    /// cluster.
    child: Child,
    output: BufReader<ChildStdout>,
}

/// Runs `action` on this process's cluster, which the first call starts.
pub(super) fn with_cluster<T>(action: impl FnOnce(&mut Cluster) -> T) -> T {
    static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);
    // If a test panicked here, the cluster may have ended; the next action then fails with its own message.
    let mut cluster = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    action(cluster.get_or_insert_with(Cluster::start))
}

impl Cluster {
    fn start() -> Cluster {
        assert!(is_installed(), "Ceph's object gateway is not installed: {INSTALL}");
        let script = repository().join("scripts/s3/start_radosgw.sh");
        let child =
            Command::new(&script).arg(run_folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
        let output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let mut cluster = Cluster { connection: Connection::default(), child, output };
        let ready = cluster.read_reply();
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        cluster.connection = Connection {
            endpoint: text("endpoint"),
            bucket: String::new(),
            region: text("region"),
            access_key_id: text("access_key_id"),
            secret_access_key: text("secret_access_key"),
        };
        cluster
    }

    /// Starts a gateway, on the given or a free port, and returns its port.
    pub(super) fn start_gateway(&mut self, port: Option<u16>) -> u16 {
        let reply = self.ask(&format!("start {}", port.map(|p| p.to_string()).unwrap_or_default()));
        let port = reply["started"].as_u64().and_then(|port| u16::try_from(port).ok());
        port.unwrap_or_else(|| panic!("the gateway does not start: {reply}"))
    }

    /// Kills a running gateway.
    pub(super) fn stop_gateway(&mut self, port: u16) {
        let reply = self.ask(&format!("stop {port}"));
        assert_eq!(reply["stopped"], port, "the gateway at {port} is not running: {reply}");
    }

    /// Kills a gateway if it and the cluster are still running.
    pub(super) fn end_gateway(&mut self, port: u16) {
        if let Some(input) = self.child.stdin.as_mut()
            && writeln!(input, "stop {port}").is_ok()
        {
            let _ = self.output.read_line(&mut String::new());
        }
    }

    fn ask(&mut self, command: &str) -> Value {
        let input = self.child.stdin.as_mut().expect("standard input is a pipe");
        writeln!(input, "{command}").expect("the script that runs the cluster listens");
        self.read_reply()
    }

    /// Reads the script's next line. The script always responds within minutes or ends.
    fn read_reply(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the script writes text");
        serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!("scripts/s3/start_radosgw.sh has ended; see its output above, perhaps {INSTALL}")
        })
    }
}
