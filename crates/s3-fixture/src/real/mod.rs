//! Third-party S3 servers as child processes, which clients must work with as well as with the fake.
//!
//! Each kind is started once per process, when a test first needs it, and serves all tests; every
//! [`RealServer`] has a fresh bucket. The servers end with this process, however it ends, because they (or
//! the scripts that run them) wait for the end of a pipe from it. If a server is not installed, the panic
//! message says how to install it.

mod bucket;
mod moto;
mod radosgw;

use std::env;
use std::path::{Path, PathBuf};

use crate::Connection;

pub use self::radosgw::is_installed as radosgw_is_installed;

/// What to do if a server is not installed.
const INSTALL: &str = "run scripts/s3/install_s3_servers.sh";

/// The kinds of third-party servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// Ceph's object gateway. It accepts `If-Match` of a PUT only without quotes, and returns no entity tag
    /// when a multipart upload is completed.
    Radosgw,
    /// moto, a test double that handles one request at a time. `If-Match` on a missing key is 404.
    Moto,
}

/// A fresh bucket on a third-party server.
#[derive(Debug)]
pub struct RealServer {
    kind: ServerKind,
    connection: Connection,
    /// Port of this server's gateway; `None` for moto.
    gateway: Option<u16>,
}

impl RealServer {
    /// Creates a bucket on Ceph's gateway if it is installed (Linux only), otherwise on moto.
    ///
    /// # Panics
    /// If neither is installed or does not start.
    pub fn any() -> RealServer {
        if radosgw::is_installed() { RealServer::radosgw() } else { RealServer::moto() }
    }

    /// Creates a bucket on Ceph, accessed through a separate gateway process. The data is in memory.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub fn radosgw() -> RealServer {
        let (port, first) = radosgw::with_cluster(|c| (c.start_gateway(None), c.connection.clone()));
        let connection = Connection { endpoint: format!("http://127.0.0.1:{port}"), ..first };
        let connection = with_fresh_bucket(connection, String::new);
        RealServer { kind: ServerKind::Radosgw, connection, gateway: Some(port) }
    }

    /// Creates a bucket on moto.
    ///
    /// # Panics
    /// If it is not installed or does not start.
    pub fn moto() -> RealServer {
        let connection = with_fresh_bucket(moto::connection(), moto::log);
        RealServer { kind: ServerKind::Moto, connection, gateway: None }
    }

    /// The kind of the server.
    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    /// What a client needs to connect.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Kills this server's gateway, even during a request. Other servers, the data and the port are not
    /// affected.
    ///
    /// # Panics
    /// If the gateway is stopped already, or the server is not [`ServerKind::Radosgw`].
    pub fn stop_gateway(&self) {
        let port = self.gateway_port();
        radosgw::with_cluster(|cluster| cluster.stop_gateway(port));
    }

    /// Restarts the gateway on its port and waits until it responds.
    ///
    /// # Panics
    /// If the gateway does not start, or the server is not [`ServerKind::Radosgw`].
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

/// Creates a bucket. `log` provides the server's log for the panic message if that fails.
fn with_fresh_bucket(connection: Connection, log: impl FnOnce() -> String) -> Connection {
    let connection = Connection { bucket: bucket::fresh_name(), ..connection };
    if let Err(e) = bucket::create(&connection) {
        panic!("cannot create a bucket at {}: {e}; perhaps {INSTALL}\n{}", connection.endpoint, log());
    }
    connection
}

/// Root folder of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Folder for the servers' files: in Cargo's target folder, if this program is in it.
fn run_folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(env::temp_dir, |target| target.join("tmp")).join("s3-servers")
}
