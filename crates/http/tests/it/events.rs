//! A job followed by server-sent events.

use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use futures::StreamExt;
use serde_json::{Value, json};

use super::site::{Site, request};
use super::worker::{claim, found, publish, tracked};

/// Events as they come.
struct Events {
    stream: BodyDataStream,
    text: String,
}

impl Events {
    async fn of(site: &Site, job: &str) -> Self {
        let response =
            site.send(request(Method::GET, &format!("/api/jobs/{job}/events"), &[], Body::empty())).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The fields of the next event; `None` at the end.
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

    /// The next event's job, once it is as wanted.
    async fn job_when(&mut self, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await.expect("the stream ended");
            let data = event.iter().find(|(name, _)| name == "data").expect("an event has data");
            let job = serde_json::from_str(&data.1).unwrap();
            if is_so(&job) {
                return job;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_to_its_end() {
    let site = Site::new().working();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let mut events = Events::of(&site, &job).await;
    let waiting = events.job_when(|_| true).await;
    assert_eq!((&waiting["id"], &waiting["status"]), (&json!(job), &json!("pending")));
    assert_eq!(waiting, site.job(&job).await);
    let lease = claim(&site).await;
    events.job_when(|job| job["status"] == "processing").await;
    for n in [3, 9] {
        lease.heartbeat(&tracked(n)).await.unwrap();
        let job = events.job_when(|job| job["progress"]["current"] == n).await;
        assert_eq!(job["metadata"]["state"], "tracking");
    }
    publish(&lease, &found()).await;
    let completed = events.job_when(|job| job["status"] != "processing").await;
    assert_eq!(
        (&completed["status"], &completed["metadata"]["state"]),
        (&json!("completed"), &json!("imported"))
    );
    assert_eq!(completed["result"]["detections"], 28);
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_told_once() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    site.delete(&format!("/api/jobs/{job}")).await;
    let mut events = Events::of(&site, &job).await;
    let event = events.next().await.unwrap();
    assert!(event.contains(&("id".to_owned(), "end".to_owned())), "{event:?}");
    assert!(events.next().await.is_none());
    // A browser comes back by itself, and is told to stay away.
    let path = format!("/api/jobs/{job}/events");
    let again = site.get_with(&path, &[("last-event-id", "end")]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (204, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_follow_one_job() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        let mut events = Events::of(&site, &job).await;
        events.job_when(|job| job["status"] == "pending").await;
        all.push(events);
    }
    site.delete(&format!("/api/jobs/{job}")).await;
    for mut events in all {
        events.job_when(|job| job["status"] == "cancelled").await;
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_server() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let mut events = Events::of(&site, &job).await;
    events.job_when(|_| true).await;
    site.stop.request();
    while events.next().await.is_some() {}
}
