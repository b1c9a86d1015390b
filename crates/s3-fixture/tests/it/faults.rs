//! Tests that every fault has the documented effect on the client and on the bucket.

use std::time::Duration;

use object_store::{ObjectStoreExt, PutMode};
use s3_fixture::{Call, FakeR2, Fault, Gate, Op};

use crate::support::{client, put_if, text};

/// Writes an object with an injected fault. Returns whether the client saw success and whether the object
/// exists.
async fn put_with(fault: Fault) -> (bool, bool) {
    let server = FakeR2::start();
    server.fail_next(Op::PutObject, "jobs/", fault);
    let put = put_if(&client(server.connection()), "jobs/1", "1", PutMode::Create).await;
    (put.is_ok(), server.object("jobs/1").is_some())
}

#[tokio::test]
async fn only_faults_after_execution_leave_the_object() {
    for fault in [Fault::Drop, Fault::ServerError, Fault::SlowDown] {
        assert_eq!(put_with(fault.clone()).await, (false, false), "{fault:?}");
    }
    for fault in [Fault::CommitThenDrop, Fault::CommitThenError] {
        assert_eq!(put_with(fault.clone()).await, (false, true), "{fault:?}");
    }
    assert_eq!(put_with(Fault::Delay(Duration::from_millis(1))).await, (true, true));
}

#[tokio::test]
async fn a_hanging_server_never_responds() {
    for (fault, exists) in [(Fault::Hang, false), (Fault::CommitThenHang, true)] {
        let server = FakeR2::start();
        let client = client(server.connection());
        server.fail_next(Op::PutObject, "k", fault.clone());
        let arrived = async {
            server.wait_for(|log| log.iter().any(|e| e.key == "k")).await;
            // A response could have arrived by the time another request has one and the object is as
            // expected.
            put_if(&client, "other", "1", PutMode::Create).await.unwrap();
            while server.object("k").is_some() != exists {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            put = put_if(&client, "k", "1", PutMode::Create) => panic!("{fault:?}: {put:?}"),
            () = arrived => {}
        }
        server.stop();
        let log: Vec<_> = server.log().into_iter().map(|e| (e.key, e.status)).collect();
        assert_eq!(log, [("k".to_owned(), None), ("other".to_owned(), Some(200))], "{fault:?}");
        assert_eq!(server.object("k").is_some(), exists, "{fault:?}");
    }
}

#[tokio::test]
async fn a_held_write_takes_effect_after_its_client_disconnected() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let gate = Gate::new();
    server.fail_next(Op::PutObject, "", Fault::Hold(gate.clone()));
    tokio::select! {
        put = put_if(&client, "k", "late", PutMode::Overwrite) => panic!("{put:?}"),
        () = gate.arrived(1) => {}
    }
    put_if(&client, "other", "1", PutMode::Create).await.unwrap();
    assert!(server.object("k").is_none());
    gate.open();
    while server.object("k").is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(&client, "k").await.unwrap(), "late");
}

#[tokio::test]
async fn a_held_response_is_sent_when_the_gate_opens() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let gate = Gate::new();
    server.fail_next(Op::PutObject, "", Fault::CommitThenHold(gate.clone()));
    let put = put_if(&client, "k", "1", PutMode::Create);
    let other = async {
        gate.arrived(1).await;
        let seen = text(&client, "k").await.unwrap();
        gate.open();
        seen
    };
    let (put, seen) = tokio::join!(put, other);
    put.unwrap();
    assert_eq!(seen, "1");
}

#[tokio::test]
async fn bodies_can_be_truncated_and_corrupted() {
    let server = FakeR2::start();
    server.put("k", "0123456789");
    let client = client(server.connection());
    server.fail_next(Op::GetObject, "k", Fault::Corrupt);
    let changed = client.get(&"k".into()).await.unwrap().bytes().await.unwrap();
    assert_eq!((changed.len(), changed == "0123456789"), (10, false));
    let url = format!("{}/courtside-test/k", server.connection().endpoint);
    let signed = format!("AWS4-HMAC-SHA256 Credential={}/x", server.connection().access_key_id);
    server.fail_next(Op::GetObject, "k", Fault::Truncate(4));
    let mut response = reqwest::Client::new().get(url).header("authorization", signed).send().await.unwrap();
    assert_eq!(response.content_length(), Some(10));
    assert_eq!(response.chunk().await.unwrap().unwrap(), "0123");
    response.chunk().await.unwrap_err();
    assert_eq!(text(&client, "k").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn a_plan_sees_all_calls_and_can_be_replaced() {
    let server = FakeR2::start();
    let client = client(server.connection());
    server.set_faults(|call: &Call| {
        (call.op == Op::PutObject && call.conditional && call.key.starts_with("jobs/"))
            .then_some(Fault::ServerError)
    });
    put_if(&client, "jobs/1", "1", PutMode::Create).await.unwrap_err();
    put_if(&client, "jobs/1", "1", PutMode::Overwrite).await.unwrap();
    put_if(&client, "videos/1", "1", PutMode::Create).await.unwrap();
    server.clear_faults();
    put_if(&client, "jobs/2", "1", PutMode::Create).await.unwrap();
    let log: Vec<_> = server.log().into_iter().map(|e| (e.op, e.key, e.status)).collect();
    let entry = |key: &str, status| (Op::PutObject, key.to_owned(), Some(status));
    assert_eq!(
        log,
        [entry("jobs/1", 500), entry("jobs/1", 200), entry("videos/1", 200), entry("jobs/2", 200)]
    );
    server.clear_log();
    assert_eq!(server.counts().total(), 0);
}

#[tokio::test]
async fn a_restarted_server_still_has_its_content() {
    let server = FakeR2::start();
    let client = client(server.connection());
    put_if(&client, "k", "1", PutMode::Create).await.unwrap();
    let upload =
        object_store::multipart::MultipartStore::create_multipart(&client, &"v".into()).await.unwrap();
    server.stop();
    server.stop();
    text(&client, "k").await.unwrap_err();
    server.start_again();
    server.start_again();
    assert_eq!(text(&client, "k").await.unwrap(), "1");
    assert_eq!(server.open_uploads(), [(upload, "v".to_owned())]);
}

#[tokio::test]
async fn stopping_cancels_requests_that_have_not_taken_effect() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let gate = Gate::new();
    server.fail_next(Op::PutObject, "", Fault::Hold(gate.clone()));
    let put = put_if(&client, "k", "1", PutMode::Create);
    let stop = async {
        server.wait_for(|log| log.iter().any(|e| e.op == Op::PutObject)).await;
        gate.arrived(1).await;
        server.stop();
        gate.open();
        server.start_again();
    };
    let (put, ()) = tokio::join!(put, stop);
    put.unwrap_err();
    assert!(server.object("k").is_none());
}

#[test]
fn the_server_does_not_depend_on_the_callers_runtime() {
    let server = FakeR2::start();
    server.put("k", "1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(text(&client(server.connection()), "k")).unwrap(), "1");
    drop(runtime);
    server.stop();
    server.start_again();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(text(&client(server.connection()), "k")).unwrap(), "1");
}
