//! Clients on real sockets that send or read slowly, or not at all, next to an honest client that gets its answers.

use std::net::SocketAddr;
use std::time::Duration;

use courtside_http::{ConnectionLimits, ServerOptions, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::test_server::{TestServer, clip, default_options, until};

/// A deadline that passes soon, but not before a client has sent what it has.
const SHORT: Duration = Duration::from_millis(500);
/// A deadline that a client meets that does something every [`PAUSE`], even on a busy machine.
const AMPLE: Duration = Duration::from_secs(3);
/// The pause of a slow client between two steps.
const PAUSE: Duration = Duration::from_millis(200);
/// No deadline, for tests of the other limits.
const LONG: Duration = Duration::from_secs(3600);

/// More than the sockets of both sides can buffer, so that it is sent only as fast as the client reads.
const LARGE_FILE_BYTES: u64 = 96 << 20;

/// Limits that no client reaches.
const NO_LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 100,
    event_streams: 100,
    head_timeout: LONG,
    body_timeout: LONG,
    write_timeout: LONG,
};

/// A server on a real socket.
struct Listening {
    server: TestServer,
    address: SocketAddr,
}

impl Listening {
    async fn with(limits: ConnectionLimits) -> Self {
        let server = TestServer::with(ServerOptions { limits, ..default_options() });
        let (listener, address) = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let serving = server.server.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        Self { server, address }
    }

    /// A client that has sent this text. Its receive buffer is small, so that a server notices early if it does not read.
    async fn client(&self, text: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// The complete response for an honest client.
    async fn get(&self, path: &str) -> String {
        answer(self.client(&get(path, "Connection: close\r\n")).await).await
    }

    /// A number in `/metrics`.
    async fn metric(&self, name: &str) -> usize {
        let text = self.get("/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until only the client that asks is connected.
    async fn others_are_closed(&self) {
        until("the end of the other connections", async || {
            (self.metric("courtside_http_connections").await == 1).then_some(())
        })
        .await;
    }

    /// Adds a large file to the library, and returns the path of its stream.
    fn large_file(&self) -> String {
        let file = self.server.video_folder().join("large.mp4");
        std::fs::File::create(&file).unwrap().set_len(LARGE_FILE_BYTES).unwrap();
        let id = self.server.library().add_video(&store::NewVideo::at(file.to_str().unwrap())).unwrap().id;
        format!("/api/videos/{id}/stream")
    }
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn post(path: &str, media_type: &str, length: usize) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    format!("{head}Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n")
}

/// Everything that the server sends until it closes the connection. A reset is an end, too.
async fn answer(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_finish_the_head_is_closed() {
    let server = Listening::with(ConnectionLimits { head_timeout: SHORT, ..NO_LIMITS }).await;
    let mut clients = Vec::new();
    for (sent, want) in [
        ("", ""),
        ("GET /healthz HT", ""),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n", ""),
        // Idle after a response.
        (&*get("/healthz", ""), "HTTP/1.1 200 OK\r\n"),
    ] {
        clients.push((sent.to_owned(), want, server.client(sent).await));
    }
    for (sent, want, client) in clients {
        let received = answer(client).await;
        assert!(received.starts_with(want) && received.is_empty() == want.is_empty(), "{sent:?}: {received}");
    }
    // Sending one byte from time to time does not extend the deadline.
    let (mut reader, mut writer) = server.client("GET /healthz HTTP/1.1\r\n").await.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"X").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut received = Vec::new();
    let _ = reader.read_to_end(&mut received).await;
    dripping.abort();
    server.others_are_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_a_body_gets_408() {
    let server = Listening::with(ConnectionLimits { body_timeout: SHORT, ..NO_LIMITS }).await;
    let id = server.server.add_video("game.mkv").await;
    let form = "multipart/form-data; boundary=b";
    let mut clients = Vec::new();
    let part = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\nstart";
    for (path, media_type, start) in [
        ("/api/videos", "application/json", ""),
        ("/api/videos", "application/json", "{\"file_path\""),
        (&*format!("/api/videos/{id}/detect"), "application/json", "{"),
        ("/api/videos", form, ""),
        ("/api/videos", form, part),
    ] {
        let sent = post(path, media_type, 1000) + start;
        clients.push((server.client(&sent).await, sent));
        assert!(server.get("/api/videos").await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    for (client, sent) in clients {
        let received = answer(client).await;
        assert!(received.starts_with("HTTP/1.1 408 "), "{sent}: {received}");
        assert!(received.contains("No data received for 0.5 s"), "{sent}: {received}");
    }
    server.others_are_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_that_moves_is_accepted() {
    let limits =
        ConnectionLimits { head_timeout: AMPLE, body_timeout: AMPLE, write_timeout: AMPLE, ..NO_LIMITS };
    let server = Listening::with(limits).await;
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"slow.mkv\"\r\n\r\n";
    let form = [head.as_bytes(), &std::fs::read(clip()).unwrap(), b"\r\n--b--\r\n"].concat();
    let mut client = server.client(&post("/api/videos", "multipart/form-data; boundary=b", form.len())).await;
    // In total, it takes longer than each deadline.
    for piece in form.chunks(form.len().div_ceil(16)) {
        sleep(PAUSE).await;
        client.write_all(piece).await.unwrap();
    }
    let received = answer(client).await;
    assert!(received.starts_with("HTTP/1.1 201 Created\r\n"), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_a_large_response_is_closed() {
    let server = Listening::with(ConnectionLimits { write_timeout: SHORT, ..NO_LIMITS }).await;
    let path = server.large_file();
    let mut clients = Vec::new();
    for headers in ["", "Range: bytes=5-\r\n", "Range: bytes=0-9,20-\r\n"] {
        clients.push(server.client(&get(&path, headers)).await);
    }
    server.others_are_closed().await;
    for client in clients {
        let received = answer(client).await;
        assert!(received.starts_with("HTTP/1.1 20") && (received.len() as u64) < LARGE_FILE_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_that_moves_is_complete() {
    let limits =
        ConnectionLimits { head_timeout: AMPLE, body_timeout: AMPLE, write_timeout: AMPLE, ..NO_LIMITS };
    let server = Listening::with(limits).await;
    let path = server.large_file();
    let mut client = server.client(&get(&path, "Range: bytes=0-8388607\r\nConnection: close\r\n")).await;
    let (mut n_received, mut piece) = (0, vec![0; 512 << 10]);
    loop {
        sleep(PAUSE).await;
        let mut n_piece = 0;
        while n_piece < piece.len() {
            match client.read(&mut piece[n_piece..]).await.unwrap() {
                0 => break,
                n => n_piece += n,
            }
        }
        if n_piece == 0 {
            break;
        }
        n_received += n_piece;
    }
    assert!(n_received > 8 << 20, "{n_received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_connect_and_do_not_read_do_not_hold_the_server() {
    let server = Listening::with(ConnectionLimits { connections: 16, ..NO_LIMITS }).await;
    let path = server.large_file();
    let mut clients = Vec::new();
    for n in 0..60 {
        let sent = match n % 3 {
            0 => String::new(),
            1 => get(&path, ""),
            _ => post("/api/videos", "application/json", 1000),
        };
        clients.push(server.client(&sent).await);
        assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"), "{n}");
    }
    assert!(server.metric("courtside_http_connections").await <= 16);
    // Those that have done nothing for longest were closed.
    for client in clients.into_iter().take(40) {
        let received = answer(client).await;
        assert!((received.len() as u64) < LARGE_FILE_BYTES);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_that_no_client_reads_do_not_keep_others_out() {
    let limits = ConnectionLimits { connections: 16, event_streams: 4, ..NO_LIMITS };
    let server = Listening::with(limits).await;
    let id = server.server.add_video("game.mkv").await;
    let job = server.server.detect(id).await;
    server.server.job_when_queued(&job).await;
    let path = format!("/api/jobs/{job}/events");
    let mut stuck = Vec::new();
    for n in 0..24 {
        let mut client = server.client(&get(&path, "Connection: close\r\n")).await;
        // Reads only the first byte: then the stream is open.
        assert_eq!(client.read_u8().await.unwrap(), b'H');
        stuck.push(client);
        assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"), "{n}");
    }
    let following = server.client(&get(&path, "Connection: close\r\n")).await;
    until("the streams", async || (server.metric("courtside_http_event_streams").await == 4).then_some(()))
        .await;
    // The oldest streams have ended.
    for client in stuck.into_iter().take(20) {
        assert!(answer(client).await.contains("text/event-stream"));
    }
    // The last client is served until the job ends.
    server.server.delete(&format!("/api/jobs/{job}")).await;
    let received = answer(following).await;
    assert!(received.contains("\"status\":\"pending\"") && received.contains("id: end"), "{received}");
}
