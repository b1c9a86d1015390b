//! Tests of the `fake-r2` program.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use object_store::PutMode;
use s3_fixture::Connection;

use crate::support::{client, put_if, text};

/// Kills the process when the test ends, also by a panic.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> (KillOnDrop, Connection) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-r2"));
    let mut child = KillOnDrop(command.args(arguments).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |name: &str| ready[name].as_str().unwrap().to_owned();
    let connection = Connection {
        endpoint: text("endpoint"),
        bucket: text("bucket"),
        region: text("region"),
        access_key_id: text("access_key_id"),
        secret_access_key: text("secret_access_key"),
    };
    (child, connection)
}

#[tokio::test]
async fn prints_its_connection_and_serves_requests() {
    let (_child, connection) = start(&["--bucket", "b", "--access-key-id", "id"]);
    assert_eq!((connection.bucket.as_str(), connection.access_key_id.as_str()), ("b", "id"));
    let client = client(&connection);
    put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    assert_eq!(text(&client, "k").await.unwrap(), "1");
}

#[tokio::test]
async fn injects_the_requested_faults() {
    let (_child, connection) = start(&["--faults", "commit-then-error=1", "--faults-prefix", "jobs/"]);
    let client = client(&connection);
    put_if(&client, "jobs/1", "1", PutMode::Create).await.unwrap_err();
    put_if(&client, "k", "1", PutMode::Create).await.unwrap();
}

#[test]
fn rejects_invalid_faults() {
    for faults in ["dropp=0.1", "drop=2", "drop"] {
        let run = Command::new(env!("CARGO_BIN_EXE_fake-r2")).args(["--faults", faults]).output().unwrap();
        assert_eq!(run.status.code(), Some(2), "{faults}");
    }
}
