//! S3 servers that others wrote, as child processes: what a client must get along with besides the fake.
//!
//! Each kind is started once in a process, when a test first asks for it, and serves all its tests; every
//! [`RealServer`] has a fresh bucket. The children end with this process, however it ends: they, or the script between,
//! wait for the end of a pipe that it holds. A server that is not installed is a panic that says what to run.

mod bucket;
mod moto;
mod radosgw;

use std::env;
use std::path::{Path, PathBuf};

use crate::Connection;

pub use self::radosgw::is_installed as radosgw_is_installed;

/// What to do if a server is missing.
const INSTALL: &str = "run scripts/s3/install_s3_servers.sh";

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Ceph's object gateway: a real server. It takes `If-Match` of a PUT only without quotes, and gives no entity tag
    /// when an upload is completed.
    Radosgw,
    /// moto, a test double that answers one request at a time. Its `If-Match` on a missing key is 404.
    Moto,
}

/// A fresh bucket on a real server.
#[derive(Debug)]
pub struct RealServer {
    kind: ServerKind,
    connection: Connection,
    /// The port of this server's gateway.
    gateway: Option<u16>,
}

impl RealServer {
    /// The real server if it is installed (Linux), or else moto.
    ///
    /// # Panics
    /// If neither is installed or does not start.
    pub fn any() -> RealServer {
        if radosgw::is_installed() { RealServer::radosgw() } else { RealServer::moto() }
    }

    /// A bucket on Ceph's object gateway, by a gateway process of its own. Its data is in memory.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub fn radosgw() -> RealServer {
        let (port, first) = radosgw::with_cluster(|c| (c.start_gateway(None), c.connection.clone()));
        let connection = Connection { endpoint: format!("http://127.0.0.1:{port}"), ..first };
        let connection = with_fresh_bucket(connection, String::new);
        RealServer { kind: ServerKind::Radosgw, connection, gateway: Some(port) }
    }

    /// A bucket on moto.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub fn moto() -> RealServer {
        let connection = with_fresh_bucket(moto::connection(), moto::log);
        RealServer { kind: ServerKind::Moto, connection, gateway: None }
    }

    /// Which server it is.
    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    /// What a client needs to connect.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Kills this server's gateway in whatever it does. Other servers go on; the data stays, and so does the port.
    ///
    /// # Panics
    /// If it is stopped, or no [`ServerKind::Radosgw`].
    pub fn stop_gateway(&self) {
        let port = self.gateway_port();
        radosgw::with_cluster(|cluster| cluster.stop_gateway(port));
    }

    /// Starts it again on its port; returns when it answers.
    ///
    /// # Panics
    /// If it does not start, or is no [`ServerKind::Radosgw`].
    pub fn start_gateway(&self) {
        let port = self.gateway_port();
        radosgw::with_cluster(|cluster| cluster.start_gateway(Some(port)));
    }

    fn gateway_port(&self) -> u16 {
        self.gateway.expect("moto loses its data when it stops: use RealServer::radosgw")
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        if let Some(port) = self.gateway {
            radosgw::with_cluster(|cluster| cluster.end_gateway(port));
        }
    }
}

/// Makes a bucket; `log` is for the panic if that fails.
fn with_fresh_bucket(connection: Connection, log: impl FnOnce() -> String) -> Connection {
    let connection = Connection { bucket: bucket::fresh_name(), ..connection };
    if let Err(e) = bucket::create(&connection) {
        panic!("no bucket could be made at {}: {e}; perhaps {INSTALL}\n{}", connection.endpoint, log());
    }
    connection
}

/// The repository's root.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where servers keep their files: under Cargo's target folder, if this program lies in it.
fn run_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(env::temp_dir, |target| target.join("tmp")).join("s3-servers")
}
