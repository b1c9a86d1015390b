//! `/metrics`.

use super::test_server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn counts_requests_by_route_and_jobs_by_status() {
    let server = TestServer::new();
    for path in ["/api/videos/1", "/api/videos/2", "/api/videos/x", "/nowhere/at/all", "/api/videos"] {
        server.get(path).await;
    }
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    server.get("/api/jobs").await.expect(200);
    let reply = server.get("/metrics").await;
    assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    for line in [
        "courtside_http_requests_total{method=\"GET\",route=\"/api/videos/{video_id}\",status=\"404\"} 2",
        "courtside_http_requests_total{method=\"GET\",route=\"/api/videos/{video_id}\",status=\"422\"} 1",
        "courtside_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "courtside_http_request_duration_seconds_count{method=\"GET\",route=\"/api/videos/{video_id}\"} 3",
        "courtside_http_request_duration_seconds_bucket{method=\"GET\",route=\"/api/videos\",le=\"+Inf\"} 1",
        "courtside_jobs{status=\"pending\"} 1",
        "courtside_jobs{status=\"failed\"} 0",
        "courtside_imports_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    // Every line is a comment or a sample.
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("courtside_") && value.parse::<f64>().is_ok(), "{line}");
    }
}
