//! The OpenAPI document and the documentation pages.

use std::collections::BTreeSet;

use courtside_http::ConnectionLimits;
use serde_json::{Value, json};

use super::test_server::TestServer;

/// All routes: those of the contract, and later additions.
const ROUTES: [&str; 38] = [
    "delete /api/jobs/{job_id}",
    "delete /api/session",
    "delete /api/videos/{video_id}",
    "delete /api/videos/{video_id}/detections",
    "get /api/games",
    "get /api/games/{game_id}",
    "get /api/games/{game_id}/videos",
    "get /api/jobs",
    "get /api/jobs/{job_id}",
    "get /api/jobs/{job_id}/events",
    "get /api/jobs/{job_id}/events-url",
    "get /api/jobs/{job_id}/export",
    "get /api/jobs/{job_id}/logs",
    "get /api/session",
    "get /api/videos",
    "get /api/videos/{video_id}",
    "get /api/videos/{video_id}/detections",
    "get /api/videos/{video_id}/detections/stats",
    "get /api/videos/{video_id}/edits",
    "get /api/videos/{video_id}/export",
    "get /api/videos/{video_id}/frame-url",
    "get /api/videos/{video_id}/frames/{frame}",
    "get /api/videos/{video_id}/stream",
    "get /api/videos/{video_id}/stream-url",
    "get /api/videos/{video_id}/thumbnail",
    "get /api/videos/{video_id}/timestamps",
    "get /api/videos/{video_id}/tracks",
    "get /healthz",
    "get /metrics",
    "patch /api/videos/{video_id}",
    "post /api/jobs/{job_id}/remove",
    "post /api/jobs/{job_id}/retry",
    "post /api/session",
    "post /api/videos",
    "post /api/videos/{video_id}/detect",
    "post /api/videos/{video_id}/edits",
    "post /api/videos/{video_id}/edits/redo",
    "post /api/videos/{video_id}/edits/undo",
];

async fn document() -> Value {
    TestServer::new().get("/openapi.json").await.expect(200)
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
            // Logging in needs no token before, but the right one.
            let is_public = path == "/healthz" || (path == "/api/session" && method != "post");
            assert_eq!(responses.contains_key("401"), !is_public, "{method} {path}");
        }
    }
    assert_eq!(routes.iter().map(String::as_str).collect::<Vec<_>>(), ROUTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_references_resolve() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["components"]["securitySchemes"]["token"],
        json!({ "type": "http", "scheme": "bearer" })
    );
    let mut n_references = 0;
    visit_all(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            n_references += 1;
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    });
    assert!(n_references > 20, "{n_references}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_connections_are_documented() {
    let document = document().await;
    let description = document["info"]["description"].as_str().unwrap();
    let limits = ConnectionLimits::default();
    for text in [
        format!("within {} seconds", limits.head_timeout.as_secs()),
        format!("sends nothing for {} seconds", limits.body_timeout.as_secs()),
        format!("accepts nothing for {} seconds", limits.write_timeout.as_secs()),
        format!("more than {} connections", limits.connections),
        format!("more than {} event streams", limits.event_streams),
    ] {
        assert!(description.contains(&text), "{text:?} is not in {description}");
    }
}

fn visit_all(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(fields) => fields.values().for_each(|value| visit_all(value, visit)),
        Value::Array(items) => items.iter().for_each(|value| visit_all(value, visit)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documentation_pages_need_no_other_server() {
    let server = TestServer::new();
    let redirect = server.get("/docs").await;
    assert!(redirect.status.is_redirection());
    assert_eq!(redirect.header("location"), "/docs/");
    let page = server.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text().contains("//cdn") && !page.text().contains("https://"), "{}", page.text());
    let start = server.get("/docs/swagger-initializer.js").await;
    assert!(start.text().contains("/openapi.json"), "{}", start.text());
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(server.get("/docs/../../etc/passwd").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_are_documented_as_closed() {
    let document = document().await;
    for name in ["DetectRequest", "EditRequest", "RegisterRequest"] {
        assert_eq!(document["components"]["schemas"][name]["additionalProperties"], json!(false), "{name}");
    }
    assert!(document["components"]["schemas"]["VideoBody"].get("additionalProperties").is_none());
}
