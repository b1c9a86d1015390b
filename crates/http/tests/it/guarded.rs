//! Who is let in, and from where.

use axum::body::Body;
use axum::http::{Method, Request};
use courtside_http::{Access, Options};
use jobs::bucket::Secret;
use serde_json::Value;

use super::site::{Reply, Site, options, request};

fn with_token() -> Site {
    Site::with(Options { access: Access::Token(Secret::new("open-sesame")), ..options() })
}

async fn call(site: &Site, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    site.call(request.body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_somebodys_demands_the_token() {
    let site = with_token();
    let routes = [
        (Method::GET, "/api/videos"),
        (Method::POST, "/api/videos"),
        (Method::GET, "/api/videos/1"),
        (Method::GET, "/api/videos/1/stream"),
        (Method::GET, "/api/videos/1/detections"),
        (Method::GET, "/api/videos/1/detections/stats"),
        (Method::GET, "/api/videos/1/tracks"),
        (Method::POST, "/api/videos/1/detect"),
        (Method::GET, "/api/jobs"),
        (Method::GET, "/api/jobs/a"),
        (Method::DELETE, "/api/jobs/a"),
        (Method::POST, "/api/jobs/a/retry"),
        (Method::GET, "/api/jobs/a/events"),
        (Method::GET, "/metrics"),
        (Method::GET, "/nowhere"),
        (Method::GET, "/healthz/"),
        (Method::PUT, "/api/videos"),
    ];
    for (method, path) in routes {
        for headers in
            [&[][..], &[("authorization", "Bearer open")], &[("authorization", "Basic open-sesame")]]
        {
            let reply = call(&site, method.clone(), path, headers).await;
            assert_eq!(reply.detail(401), "Not authenticated", "{method} {path}");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
        let reply = call(&site, method.clone(), path, &[("authorization", "Bearer open-sesame")]).await;
        assert_ne!(reply.status, 401, "{method} {path}");
    }
    assert_eq!(call(&site, Method::GET, "/healthz", &[]).await.expect(200)["status"], "ok");
    // The documentation says how to show it.
    assert_eq!(call(&site, Method::GET, "/docs/", &[]).await.status, 200);
    let document = call(&site, Method::GET, "/openapi.json", &[]).await.expect(200);
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    // With the token, any name and page will do.
    let shown = [
        ("authorization", "Bearer open-sesame"),
        ("host", "games.example.org"),
        ("origin", "https://x.example"),
    ];
    assert_eq!(call(&site, Method::DELETE, "/api/jobs/a", &shown).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_this_machines_names_are_answered() {
    let site = Site::new();
    for host in ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
        assert_eq!(call(&site, Method::GET, "/api/videos", &[("host", host)]).await.status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", ""] {
        for path in ["/api/videos", "/healthz", "/docs/", "/nowhere"] {
            let reply = call(&site, Method::GET, path, &[("host", host)]).await;
            assert!(reply.detail(400).starts_with("Invalid host header"), "{host} {path}");
        }
    }
    assert_eq!(call(&site, Method::GET, "/api/videos", &[]).await.status, 400);
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(call(&site, Method::GET, "/api/videos", &two).await.status, 400);
    // An absolute target counts as well.
    assert_eq!(
        call(&site, Method::GET, "http://evil.example/api/videos", &[("host", "localhost")]).await.status,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_change_nothing() {
    let allowed = "https://games.example.org".parse().unwrap();
    let site = Site::with(Options { cors_origins: vec![allowed], ..options() });
    let delete = async |origin: &str| {
        call(&site, Method::DELETE, "/api/jobs/a", &[("host", "localhost:8000"), ("origin", origin)])
            .await
            .status
            .as_u16()
    };
    assert_eq!(delete("http://localhost:8000").await, 404);
    assert_eq!(delete("https://games.example.org").await, 404);
    for origin in ["https://evil.example", "null", "http://localhost:9000", "https://localhost:8000", ""] {
        assert_eq!(delete(origin).await, 403, "{origin}");
    }
    let form = [("content-type", "multipart/form-data; boundary=x"), ("origin", "https://evil.example")];
    let reply = site.call(request(Method::POST, "/api/videos", &form, Body::empty())).await;
    assert!(reply.detail(403).contains("origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_origins_may_read() {
    let allowed = "https://games.example.org".parse().unwrap();
    let site = Site::with(Options {
        cors_origins: vec![allowed],
        access: Access::Token(Secret::new("open-sesame")),
        ..options()
    });
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "authorization"),
        ];
        call(&site, Method::OPTIONS, "/api/jobs/a", &headers).await
    };
    let reply = preflight("https://games.example.org").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "https://games.example.org");
    assert!(reply.header("access-control-allow-methods").contains("DELETE"));
    assert!(reply.header("access-control-allow-headers").contains("authorization"));
    assert!(preflight("https://evil.example").await.headers.get("access-control-allow-origin").is_none());
    // Errors can be read as well.
    let reply = call(&site, Method::GET, "/api/videos", &[("origin", "https://games.example.org")]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("access-control-allow-origin")),
        (401, "https://games.example.org")
    );
    // By default nobody may.
    let site = Site::new();
    let reply = site.get_with("/api/videos", &[("origin", "https://games.example.org")]).await;
    assert!(reply.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods() {
    let site = Site::new();
    for path in ["/", "/api", "/api/video", "/api/videos/", "/api/videos/1/2", "/docsx"] {
        assert_eq!(site.get(path).await.detail(404), "Not Found", "{path}");
    }
    let reply = site.call(request(Method::PUT, "/api/videos", &[], Body::empty())).await;
    assert_eq!(reply.detail(405), "Method Not Allowed");
    assert_eq!(reply.header("allow"), "GET,HEAD,POST");
    assert_eq!(site.post("/api/jobs", &Value::Null).await.detail(405), "Method Not Allowed");
}
