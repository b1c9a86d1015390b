//! Following a job by server-sent events.

use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use futures::StreamExt;
use serde_json::{Value, json};

use super::fake_worker::{claim, detections, heartbeat, publish};
use super::test_server::{TestServer, request};

/// An open event stream.
struct Events {
    stream: BodyDataStream,
    /// Received text that is not yet a complete event.
    text: String,
}

impl Events {
    async fn open(server: &TestServer, job: &str) -> Self {
        let response =
            server.send(request(Method::GET, &format!("/api/jobs/{job}/events"), &[], Body::empty())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The fields of the next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Vec<(String, String)>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned()));
                return Some(event.lines().filter_map(field).collect());
            }
            let piece = self.stream.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The job of the next event that meets the condition.
    async fn job_when(&mut self, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await.expect("the stream has ended");
            let data = event.iter().find(|(name, _)| name == "data").expect("an event has data");
            let job = serde_json::from_str(&data.1).unwrap();
            if condition(&job) {
                return job;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_job_until_it_is_imported() {
    let server = TestServer::new().with_background_tasks();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let mut events = Events::open(&server, &job).await;
    let waiting = events.job_when(|_| true).await;
    assert_eq!((&waiting["id"], &waiting["status"]), (&json!(job), &json!("pending")));
    assert_eq!(waiting, server.job(&job).await);
    let lease = claim(&server).await;
    events.job_when(|job| job["status"] == "processing").await;
    for n in [3, 9] {
        lease.heartbeat(&heartbeat(n)).await.unwrap();
        let job = events.job_when(|job| job["progress"]["current"] == n).await;
        assert_eq!(job["metadata"]["state"], "tracking");
    }
    publish(&lease, &detections()).await;
    let completed = events.job_when(|job| job["status"] != "processing").await;
    assert_eq!(
        (&completed["status"], &completed["metadata"]["state"]),
        (&json!("completed"), &json!("imported"))
    );
    assert_eq!(completed["result"]["detections"], 28);
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_is_sent_once() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    server.delete(&format!("/api/jobs/{job}")).await;
    let mut events = Events::open(&server, &job).await;
    let event = events.next().await.unwrap();
    assert!(event.contains(&("id".to_owned(), "end".to_owned())), "{event:?}");
    assert!(events.next().await.is_none());
    // A browser reconnects automatically; 204 makes it stop.
    let path = format!("/api/jobs/{job}/events");
    let again = server.get_with(&path, &[("last-event-id", "end")]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (204, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_can_follow_one_job() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut events = Events::open(&server, &job).await;
        events.job_when(|job| job["status"] == "pending").await;
        all.push(events);
    }
    server.delete(&format!("/api/jobs/{job}")).await;
    for mut events in all {
        events.job_when(|job| job["status"] == "cancelled").await;
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_server_stops() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let mut events = Events::open(&server, &job).await;
    events.job_when(|_| true).await;
    server.stop.request();
    while events.next().await.is_some() {}
}
