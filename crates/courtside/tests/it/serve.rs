//! `courtside serve` as a process. The routes are tested in crates/http.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command};

use serde_json::Value;

use crate::sandbox::{RunOutput, Sandbox};

/// A running server. Dropping it kills the process.
struct RunningServer {
    child: Option<Child>,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl RunningServer {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let address = announced["address"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child: Some(child), address, _stdout: stdout }
    }

    /// Sends a raw request and reads the response until the server closes the connection.
    fn send(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> String {
        let host = &self.address;
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends a signal, such as `TERM`, and waits for the end of the process.
    fn stop(mut self, signal: &str) -> RunOutput {
        let child = self.child.take().unwrap();
        let kill = format!("kill -s {signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        RunOutput::new(child.wait_with_output().unwrap())
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if the process has already ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn announces_its_address_serves_and_stops_on_sigterm() {
    let sandbox = Sandbox::new();
    let server = RunningServer::start(sandbox.command(&["--json", "serve", "--port", "0"]));
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
    let answer = server.get("/healthz");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"status\":\"ok\""), "{answer}");
    let answer = server.get("/api/videos");
    assert!(answer.contains("\"total\":0"), "{answer}");
    let answer = server.send("GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // An idle connection does not delay the shutdown.
    let idle = TcpStream::connect(&server.address).unwrap();
    server.stop("TERM").expect(0, &["serving http://127.0.0.1:", "/docs"]);
    drop(idle);
}

#[test]
fn ctrl_c_ends_the_server_with_exit_code_0() {
    let sandbox = Sandbox::new();
    let server = RunningServer::start(sandbox.command(&["--json", "serve", "--port", "0"]));
    server.stop("INT").expect(0, &["finishing the requests in progress"]);
}

#[test]
fn the_token_is_required_and_never_logged() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["--json", "serve", "--host", "0.0.0.0", "--port", "0"]);
    command.env("COURTSIDE_TOKEN", "open-sesame").env("COURTSIDE_LOG", "trace");
    let server = RunningServer::start(command);
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    let request = |rest: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let head = format!("GET /api/videos HTTP/1.1\r\nHost: games\r\nConnection: close\r\n{rest}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(request("").starts_with("HTTP/1.1 401 "));
    assert!(request("Authorization: Bearer open\r\n").starts_with("HTTP/1.1 401 "));
    assert!(request("Authorization: Bearer open-sesame\r\n").starts_with("HTTP/1.1 200 "));
    let output = server.stop("TERM").expect(0, &["warning: COURTSIDE_TOKEN has fewer than"]);
    assert!(!output.stderr.contains("open-sesame"), "{}", output.stderr);
}

#[test]
fn refuses_to_start_with_invalid_options() {
    let sandbox = Sandbox::new();
    sandbox.run(&["serve", "--host", "0.0.0.0", "--port", "0"]).expect(3, &["COURTSIDE_TOKEN", "0.0.0.0"]);
    sandbox.run(&["serve", "--host", "no such host", "--port", "0"]).expect(3, &["--host no such host"]);
    sandbox.run(&["serve", "--port", "0", "--cors-origin", "*"]).expect(3, &["--cors-origin"]);
    sandbox.run(&["serve", "--port", "0", "--cors-origin", "https://a/b"]).expect(3, &["--cors-origin"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    sandbox.run(&["serve", "--port", &port]).expect(1, &["cannot listen on 127.0.0.1", "--port"]);
}

#[test]
fn open_starts_a_server_or_finds_the_one_of_this_library() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let server = RunningServer::start(sandbox.command(&["--json", "open", "--no-browser", "--port", "0"]));
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    // The library is created by the first submission.
    let none = sandbox.run(&["open", "--no-browser", "--port", &port, "7"]).expect(1, &["7", "videos list"]);
    assert_eq!(none.stdout, "");
    let opened = sandbox.run(&["--json", "open", "--no-browser", "--port", &port]).expect(0, &[]);
    assert_eq!(opened.json()["url"], format!("http://127.0.0.1:{port}/"));
    // It serves another library: this one needs another port.
    other
        .run(&["open", "--no-browser", "--port", &port])
        .expect(1, &["cannot listen on 127.0.0.1", "--port"]);
    server.stop("TERM").expect(0, &["serving http://127.0.0.1:"]);
}
