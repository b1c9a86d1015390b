//! The real servers come up, take conditional writes as said, and can be stopped.

use std::process::{Command, Stdio};

use object_store::multipart::MultipartStore;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use s3_fixture::{RealServer, ServerKind, radosgw_is_installed};

use crate::support::{client, put_if, replace, text};

#[tokio::test]
async fn moto_takes_conditional_puts() {
    let server = RealServer::moto();
    assert_eq!(server.kind(), ServerKind::Moto);
    let client = client(server.connection());
    let etag = put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    let again = put_if(&client, "k", "2", PutMode::Create).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    put_if(&client, "k", "2", replace(&etag)).await.unwrap();
    put_if(&client, "k", "3", replace(&etag)).await.unwrap_err();
    assert_eq!(text(&client, "k").await.unwrap(), "2");
}

#[tokio::test]
async fn each_server_is_a_bucket_of_its_own() {
    let (one, other) = (RealServer::any(), RealServer::any());
    put_if(&client(one.connection()), "k", "1", PutMode::Create).await.unwrap();
    let found = text(&client(other.connection()), "k").await;
    assert!(matches!(found, Err(Error::NotFound { .. })), "{found:?}");
}

#[test]
fn any_is_the_real_one_where_it_is_installed() {
    let expected = if radosgw_is_installed() { ServerKind::Radosgw } else { ServerKind::Moto };
    assert_eq!(RealServer::any().kind(), expected);
}

/// Ceph is to be had on Linux alone.
#[cfg(target_os = "linux")]
mod radosgw {
    use super::*;

    #[tokio::test]
    async fn it_takes_if_match_only_without_quotes() {
        let server = RealServer::radosgw();
        let client = client(server.connection());
        let etag = put_if(&client, "k", "1", PutMode::Create).await.unwrap();
        put_if(&client, "k", "2", PutMode::Create).await.unwrap_err();
        put_if(&client, "k", "2", replace(&etag)).await.unwrap_err();
        put_if(&client, "k", "2", replace(etag.trim_matches('"'))).await.unwrap();
        assert_eq!(text(&client, "k").await.unwrap(), "2");
    }

    #[tokio::test]
    async fn it_takes_uploads_in_parts() {
        let server = RealServer::radosgw();
        let client = client(server.connection());
        let key = "videos/v.mp4".into();
        let id = client.create_multipart(&key).await.unwrap();
        let mut parts = Vec::new();
        for (index, size) in [5 << 20, 5 << 20, 7].into_iter().enumerate() {
            parts.push(client.put_part(&key, &id, index, PutPayload::from(vec![1; size])).await.unwrap());
        }
        client.complete_multipart(&key, &id, parts).await.unwrap();
        assert_eq!(client.head(&key).await.unwrap().size, (10 << 20) + 7);
    }

    #[tokio::test]
    async fn its_gateway_stops_and_starts_with_the_data_kept() {
        let (server, other) = (RealServer::radosgw(), RealServer::radosgw());
        let client_of = |server: &RealServer| client(server.connection());
        put_if(&client_of(&server), "k", "1", PutMode::Create).await.unwrap();
        server.stop_gateway();
        text(&client_of(&server), "k").await.unwrap_err();
        put_if(&client_of(&other), "k", "2", PutMode::Create).await.unwrap();
        server.start_gateway();
        assert_eq!(text(&client_of(&server), "k").await.unwrap(), "1");
    }

    #[test]
    fn its_cluster_ends_with_the_process_that_started_it_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/s3/start_radosgw.sh");
        let mut command = Command::new(script);
        let child = command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        // Waiting closes the script's standard input, as the end of this process would.
        let run = child.unwrap().wait_with_output().unwrap();
        assert!(run.status.success(), "{run:?}");
        let left: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["radosgw.lock"]);
    }
}
