//! A server with its own library and bucket. Requests go straight to the router, without a network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use client::Client;
use client::settings::Settings;
use client::stop::Stop;
use courtside_http::{Access, ConnectionLimits, PollIntervals, Server, ServerOptions};
use s3_fixture::FakeR2;
use serde_json::Value;
use store::Library;
use tower::ServiceExt;

/// How long [`until`] waits before the test fails. Nothing takes nearly this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server with its temporary folder and client. Its stop is requested when it is dropped.
pub(super) struct TestServer {
    pub(super) folder: tempfile::TempDir,
    pub(super) client: Arc<Client>,
    pub(super) server: Server,
    pub(super) stop: StopOnDrop,
}

/// Requests a stop when it is dropped.
pub(super) struct StopOnDrop(Stop);

impl std::ops::Deref for StopOnDrop {
    type Target = Stop;

    fn deref(&self) -> &Stop {
        &self.0
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

/// A response with its complete body.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Options with short intervals, and automatic import.
pub(super) fn default_options() -> ServerOptions {
    let interval = Duration::from_millis(5);
    ServerOptions {
        access: Access::Loopback,
        auto_import: true,
        cors_origins: Vec::new(),
        max_upload_bytes: 64 << 20,
        poll: PollIntervals {
            jobs: interval,
            jobs_idle: interval,
            followed_job: interval,
            job_list_max_age: Duration::ZERO,
        },
        limits: ConnectionLimits::default(),
    }
}

impl TestServer {
    /// A server whose bucket is a folder.
    pub(super) fn new() -> Self {
        Self::with(default_options())
    }

    pub(super) fn with(options: ServerOptions) -> Self {
        Self::create(tempfile::tempdir().unwrap(), None, options)
    }

    /// A server whose bucket is on an S3 server.
    pub(super) fn with_s3(bucket: &FakeR2) -> Self {
        Self::create(tempfile::tempdir().unwrap(), Some(bucket), default_options())
    }

    fn create(folder: tempfile::TempDir, bucket: Option<&FakeR2>, options: ServerOptions) -> Self {
        let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
        let (database, videos) = (format!("sqlite:///{}", path("library.db")), path("videos"));
        let lookup = |name: &str| {
            let remote = bucket.map(FakeR2::connection);
            match name {
                "DATABASE_URL" => Some(database.clone()),
                "VIDEO_STORAGE_PATH" => Some(videos.clone()),
                "R2_ENDPOINT_URL" => remote.map(|c| c.endpoint.clone()),
                "R2_BUCKET_NAME" => remote.map(|c| c.bucket.clone()),
                "R2_ACCESS_KEY_ID" => remote.map(|c| c.access_key_id.clone()),
                "R2_SECRET_ACCESS_KEY" => remote.map(|c| c.secret_access_key.clone()),
                _ => None,
            }
        };
        let client = Arc::new(Client::new(Settings::from(&lookup).unwrap()));
        let stop = Stop::default();
        let server = Server::new(client.clone(), options, stop.clone()).unwrap();
        Self { folder, client, server, stop: StopOnDrop(stop) }
    }

    /// Stops this server, and starts another one with the same library and bucket.
    pub(super) fn restarted(self) -> Self {
        self.stop.request();
        let client = Arc::new(Client::new(self.client.settings.clone()));
        let stop = Stop::default();
        let server = Server::new(client.clone(), default_options(), stop.clone()).unwrap();
        Self { folder: self.folder, client, server, stop: StopOnDrop(stop) }
    }

    /// Starts uploads, polling and imports.
    pub(super) fn with_background_tasks(self) -> Self {
        drop(self.server.spawn_background_tasks());
        self
    }

    pub(super) fn library(&self) -> Library {
        self.client.library().unwrap()
    }

    /// The folder that stores uploaded videos.
    pub(super) fn video_folder(&self) -> PathBuf {
        self.folder.path().join("videos")
    }

    /// Copies a clip to the video folder and adds it to the library. Returns its id.
    pub(super) async fn add_video(&self, name: &str) -> i64 {
        std::fs::copy(clip(), self.video_folder().join(name)).unwrap();
        let body = serde_json::json!({ "file_path": name });
        let reply = self.post("/api/videos", &body).await.expect(201);
        reply["id"].as_i64().unwrap()
    }

    /// Submits a video for tracking. Returns the job's id.
    pub(super) async fn detect(&self, video: i64) -> String {
        let reply = self.post(&format!("/api/videos/{video}/detect"), &Value::Null).await.expect(202);
        assert_eq!(reply["video_id"], video);
        reply["job_id"].as_str().unwrap().to_owned()
    }

    /// A job, once it meets the condition.
    pub(super) async fn job_when(&self, id: &str, condition: impl Fn(&Value) -> bool) -> Value {
        until("the job", async || Some(self.job(id).await).filter(&condition)).await
    }

    pub(super) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/api/jobs/{id}")).await.expect(200)
    }

    /// A job, once its video is in the bucket and it waits for a worker.
    pub(super) async fn job_when_queued(&self, id: &str) -> Value {
        self.job_when(id, |job| job["progress"]["message"] == "waiting for a worker").await
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response {
        self.server.router().oneshot(request).await.unwrap()
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Reply {
        Reply::read(self.send(request).await).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.call(request(Method::GET, path, &[], Body::empty())).await
    }

    pub(super) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.call(request(Method::GET, path, headers, Body::empty())).await
    }

    pub(super) async fn delete(&self, path: &str) -> Reply {
        self.call(request(Method::DELETE, path, &[], Body::empty())).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.call(request(Method::PATCH, path, &json, Body::from(body.to_string()))).await
    }

    /// Posts JSON; null means an empty body.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.call(request(Method::POST, path, &json, body)).await
    }
}

/// A request as a program on this machine sends it.
pub(super) fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8000");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

impl Reply {
    pub(super) async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 256 << 20).await.unwrap().to_vec();
        Self { status: head.status, headers: head.headers, body }
    }

    /// The JSON of a response, which must have this status.
    #[track_caller]
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The `detail` of an error response.
    #[track_caller]
    pub(super) fn detail(&self, status: u16) -> String {
        self.expect(status)["detail"].as_str().unwrap_or_else(|| panic!("{}", self.text())).to_owned()
    }

    /// The faults that a 422 response lists, such as `query.limit less_than_equal`.
    #[track_caller]
    pub(super) fn issues(&self) -> Vec<String> {
        let issues = self.expect(422)["detail"].as_array().unwrap().clone();
        let word = |v: &Value| v.as_str().unwrap().to_owned();
        let issue = |issue: &Value| {
            assert!(!issue["msg"].as_str().unwrap().is_empty());
            let loc: Vec<String> = issue["loc"].as_array().unwrap().iter().map(word).collect();
            format!("{} {}", loc.join("."), word(&issue["type"]))
        };
        issues.iter().map(issue).collect()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Polls until there is a value.
pub(super) async fn until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A video with 14 frames.
pub(super) fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wide/clip.mkv").canonicalize().unwrap()
}

/// A video of several megabytes: two seconds of noise.
pub(super) fn large_clip() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("noise.mp4");
        let made = Command::new("ffmpeg")
            .args(["-hide_banner", "-v", "error", "-f", "lavfi", "-i", "color=gray:s=320x240:r=25:d=2"])
            .args(["-vf", "noise=alls=100:allf=t", "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success(), "ffmpeg cannot create a video");
        std::fs::read(file).unwrap()
    })
}

/// The names of all files in a folder, hidden ones included.
pub(super) fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
