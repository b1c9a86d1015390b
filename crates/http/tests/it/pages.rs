//! The page, and how a browser logs in.

use axum::body::Body;
use axum::http::Method;
use courtside_http::{Access, ServerOptions};
use jobs::bucket::Secret;
use serde_json::json;

use super::test_server::{Reply, TestServer, default_options, request};

const TOKEN: &str = "a token of 16 and more characters";

fn with_token() -> TestServer {
    TestServer::with(ServerOptions { access: Access::Token(Secret::new(TOKEN)), ..default_options() })
}

async fn log_in(server: &TestServer, token: &str) -> Reply {
    let headers = [("content-type", "application/json")];
    let body = Body::from(json!({ "token": token }).to_string());
    server.call(request(Method::POST, "/api/session", &headers, body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_no_token_and_runs_no_foreign_script() {
    for server in [TestServer::new(), with_token()] {
        let reply = server.get("/").await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("content-type").starts_with("text/html"));
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        for path in ["/assets/none.js", "/assets/..%2Findex.html", "/assets/../index.html", "/assets/"] {
            assert_ne!(server.get(path).await.status, 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_sends_the_token_once() {
    let server = with_token();
    let session = server.get("/api/session").await.expect(200);
    assert_eq!(session, json!({ "needs_token": true, "is_authorized": false, "library": null }));
    for wrong in ["a token", "A TOKEN OF 16 AND MORE CHARACTERS"] {
        assert_eq!(log_in(&server, wrong).await.detail(401), "Not authenticated", "{wrong}");
    }
    let reply = log_in(&server, TOKEN).await;
    assert_eq!(reply.status, 204);
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(!cookie.contains("token"), "{cookie}");
    let call = async |method: Method, origin: Option<&str>| {
        let mut headers = vec![("cookie", cookie.as_str())];
        headers.extend(origin.map(|origin| ("origin", origin)));
        server.call(request(method, "/api/jobs/a", &headers, Body::empty())).await.status.as_u16()
    };
    assert_eq!(call(Method::GET, None).await, 404);
    // Only pages of this server write, also if another port of the same machine is the same site to the browser.
    assert_eq!(call(Method::DELETE, Some("http://localhost:8000")).await, 404);
    for foreign in [None, Some("null"), Some("http://localhost:9000"), Some("https://evil.example")] {
        assert_eq!(call(Method::DELETE, foreign).await, 403, "{foreign:?}");
    }
    let reply = server.call(request(Method::DELETE, "/api/session", &[], Body::empty())).await;
    assert_eq!(reply.status, 204);
    assert!(reply.header("set-cookie").starts_with("courtside_session=; "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_token_wants_none() {
    let server = TestServer::new();
    let session = server.get("/api/session").await.expect(200);
    assert_eq!((&session["needs_token"], &session["is_authorized"]), (&json!(false), &json!(true)));
    assert!(session["library"].as_str().unwrap().ends_with("library.db"), "{session}");
    let headers = [("content-type", "application/json")];
    let reply = server.call(request(Method::POST, "/api/session", &headers, Body::from("{}"))).await;
    assert_eq!((reply.status.as_u16(), reply.headers.get("set-cookie")), (204, None));
}
