//! Tests of the third-party servers: they start, handle conditional writes as documented, and can be stopped.

use std::process::{Command, Stdio};

use object_store::multipart::MultipartStore;
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use s3_fixture::{RealServer, ServerKind, radosgw_is_installed};

use crate::support::{client, put_if, replace, text};

#[tokio::test]
async fn moto_honours_conditional_writes() {
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
async fn each_server_has_its_own_bucket() {
    let (one, other) = (RealServer::any(), RealServer::any());
    put_if(&client(one.connection()), "k", "1", PutMode::Create).await.unwrap();
    let found = text(&client(other.connection()), "k").await;
    assert!(matches!(found, Err(Error::NotFound { .. })), "{found:?}");
}

#[test]
fn any_prefers_radosgw_if_it_is_installed() {
    let expected = if radosgw_is_installed() { ServerKind::Radosgw } else { ServerKind::Moto };
    assert_eq!(RealServer::any().kind(), expected);
}

/// Ceph is available only on Linux.
#[cfg(target_os = "linux")]
mod radosgw {
    use super::*;

    #[tokio::test]
    async fn accepts_if_match_only_without_quotes() {
        let server = RealServer::radosgw();
        let client = client(server.connection());
        let etag = put_if(&client, "k", "1", PutMode::Create).await.unwrap();
        put_if(&client, "k", "2", PutMode::Create).await.unwrap_err();
        put_if(&client, "k", "2", replace(&etag)).await.unwrap_err();
        put_if(&client, "k", "2", replace(etag.trim_matches('"'))).await.unwrap();
        assert_eq!(text(&client, "k").await.unwrap(), "2");
    }

    #[tokio::test]
    async fn accepts_multipart_uploads() {
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
    async fn a_restarted_gateway_still_has_its_data() {
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
    fn the_cluster_ends_with_its_parent_process_and_leaves_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/s3/start_radosgw.sh");
        let mut command = Command::new(script);
        let child = command.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        // `wait_with_output` closes the script's standard input, as the end of this process would.
        let run = child.unwrap().wait_with_output().unwrap();
        assert!(run.status.success(), "{run:?}");
        let left: Vec<_> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["radosgw.lock"]);
    }
}
