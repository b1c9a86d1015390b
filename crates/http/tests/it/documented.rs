//! The interface's documentation, and what it measures.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::site::Site;

/// What the contract names, and what was added to it.
const ROUTES: [&str; 15] = [
    "delete /api/jobs/{job_id}",
    "get /api/jobs",
    "get /api/jobs/{job_id}",
    "get /api/jobs/{job_id}/events",
    "get /api/videos",
    "get /api/videos/{video_id}",
    "get /api/videos/{video_id}/detections",
    "get /api/videos/{video_id}/detections/stats",
    "get /api/videos/{video_id}/stream",
    "get /api/videos/{video_id}/tracks",
    "get /healthz",
    "get /metrics",
    "post /api/jobs/{job_id}/retry",
    "post /api/videos",
    "post /api/videos/{video_id}/detect",
];

async fn document() -> Value {
    Site::new().get("/openapi.json").await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_documented() {
    let document = document().await;
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes.insert(format!("{method} {path}"));
            assert!(operation["summary"].is_string(), "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("503"), "{method} {path}");
            assert_eq!(responses.contains_key("401"), path != "/healthz", "{method} {path}");
        }
    }
    assert_eq!(routes.iter().map(String::as_str).collect::<Vec<_>>(), ROUTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_refers_to_nothing_that_is_not_there() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["components"]["securitySchemes"]["token"],
        json!({ "type": "http", "scheme": "bearer" })
    );
    let mut n_references = 0;
    each(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            n_references += 1;
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    });
    assert!(n_references > 20, "{n_references}");
}

fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| each(value, visit)),
        Value::Array(items) => items.iter().for_each(|value| each(value, visit)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_pages_come_with_the_program() {
    let site = Site::new();
    let redirect = site.get("/docs").await;
    assert!(redirect.status.is_redirection());
    assert_eq!(redirect.header("location"), "/docs/");
    let page = site.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text().contains("//cdn") && !page.text().contains("https://"), "{}", page.text());
    let start = site.get("/docs/swagger-initializer.js").await;
    assert!(start.text().contains("/openapi.json"), "{}", start.text());
    assert_eq!(site.get("/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(site.get("/docs/../../etc/passwd").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_route() {
    let site = Site::new();
    for path in ["/api/videos/1", "/api/videos/2", "/api/videos/x", "/nowhere/at/all", "/api/videos"] {
        site.get(path).await;
    }
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    site.get("/api/jobs").await.expect(200);
    let reply = site.get("/metrics").await;
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
