//! Authorization: the token, the Host and Origin checks without one, and CORS.

use axum::body::Body;
use axum::http::{Method, Request};
use courtside_http::{Access, ServerOptions};
use jobs::bucket::Secret;
use serde_json::Value;

use super::test_server::{Reply, TestServer, default_options, request};

fn with_token() -> TestServer {
    TestServer::with(ServerOptions { access: Access::Token(Secret::new("open-sesame")), ..default_options() })
}

async fn call(server: &TestServer, method: Method, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.call(request.body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_private_route_requires_the_token() {
    let server = with_token();
    let routes = [
        (Method::GET, "/api/videos"),
        (Method::POST, "/api/videos"),
        (Method::GET, "/api/videos/1"),
        (Method::GET, "/api/videos/1/stream"),
        (Method::GET, "/api/videos/1/detections"),
        (Method::GET, "/api/videos/1/detections/stats"),
        (Method::GET, "/api/videos/1/tracks"),
        (Method::GET, "/api/videos/1/thumbnail"),
        (Method::GET, "/api/videos/1/frames/0.jpg"),
        (Method::GET, "/api/videos/1/timestamps"),
        (Method::GET, "/api/videos/1/export"),
        (Method::GET, "/api/jobs/a/export"),
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
            let reply = call(&server, method.clone(), path, headers).await;
            assert_eq!(reply.detail(401), "Not authenticated", "{method} {path}");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
        let reply = call(&server, method.clone(), path, &[("authorization", "Bearer open-sesame")]).await;
        assert_ne!(reply.status, 401, "{method} {path}");
    }
    assert_eq!(call(&server, Method::GET, "/healthz", &[]).await.expect(200)["status"], "ok");
    // The documentation is public.
    assert_eq!(call(&server, Method::GET, "/docs/", &[]).await.status, 200);
    let document = call(&server, Method::GET, "/openapi.json", &[]).await.expect(200);
    assert_eq!(document["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    // With the token, any host and origin is accepted.
    let headers = [
        ("authorization", "Bearer open-sesame"),
        ("host", "games.example.org"),
        ("origin", "https://x.example"),
    ];
    assert_eq!(call(&server, Method::DELETE, "/api/jobs/a", &headers).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_local_hosts_are_accepted() {
    let server = TestServer::new();
    for host in ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"] {
        assert_eq!(call(&server, Method::GET, "/api/videos", &[("host", host)]).await.status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", ""] {
        for path in ["/api/videos", "/healthz", "/docs/", "/nowhere"] {
            let reply = call(&server, Method::GET, path, &[("host", host)]).await;
            assert!(reply.detail(400).starts_with("Invalid host header"), "{host} {path}");
        }
    }
    assert_eq!(call(&server, Method::GET, "/api/videos", &[]).await.status, 400);
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(call(&server, Method::GET, "/api/videos", &two).await.status, 400);
    // The host of an absolute target is checked too.
    assert_eq!(
        call(&server, Method::GET, "http://evil.example/api/videos", &[("host", "localhost")]).await.status,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_cannot_change_anything() {
    let allowed = "https://games.example.org".parse().unwrap();
    let server = TestServer::with(ServerOptions { cors_origins: vec![allowed], ..default_options() });
    let delete = async |origin: &str| {
        call(&server, Method::DELETE, "/api/jobs/a", &[("host", "localhost:8000"), ("origin", origin)])
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
    let reply = server.call(request(Method::POST, "/api/videos", &form, Body::empty())).await;
    assert!(reply.detail(403).contains("origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_origins_get_cors_headers() {
    let allowed = "https://games.example.org".parse().unwrap();
    let server = TestServer::with(ServerOptions {
        cors_origins: vec![allowed],
        access: Access::Token(Secret::new("open-sesame")),
        ..default_options()
    });
    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "DELETE"),
            ("access-control-request-headers", "authorization"),
        ];
        call(&server, Method::OPTIONS, "/api/jobs/a", &headers).await
    };
    let reply = preflight("https://games.example.org").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "https://games.example.org");
    assert!(reply.header("access-control-allow-methods").contains("DELETE"));
    assert!(reply.header("access-control-allow-headers").contains("authorization"));
    assert!(preflight("https://evil.example").await.headers.get("access-control-allow-origin").is_none());
    // Error responses have the headers too.
    let reply = call(&server, Method::GET, "/api/videos", &[("origin", "https://games.example.org")]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("access-control-allow-origin")),
        (401, "https://games.example.org")
    );
    // By default, no origin is allowed.
    let server = TestServer::new();
    let reply = server.get_with("/api/videos", &[("origin", "https://games.example.org")]).await;
    assert!(reply.headers.get("access-control-allow-origin").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_get_json_errors() {
    let server = TestServer::new();
    for path in ["/index.html", "/api", "/api/video", "/api/videos/", "/api/videos/1/2", "/docsx"] {
        assert_eq!(server.get(path).await.detail(404), "Not Found", "{path}");
    }
    let reply = server.call(request(Method::PUT, "/api/videos", &[], Body::empty())).await;
    assert_eq!(reply.detail(405), "Method Not Allowed");
    assert_eq!(reply.header("allow"), "GET,HEAD,POST");
    assert_eq!(server.post("/api/jobs", &Value::Null).await.detail(405), "Method Not Allowed");
}
