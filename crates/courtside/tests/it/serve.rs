//! The program itself: `courtside serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command};

use serde_json::Value;

use crate::program::{Place, Ran};

/// A server that is killed when it is forgotten.
struct Serving {
    child: Option<Child>,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let address = said["address"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        Self { child: Some(child), address, _stdout: stdout }
    }

    /// Sends bytes and reads until the server closes.
    fn talk(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str) -> String {
        let host = &self.address;
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    fn end(mut self) -> Ran {
        let child = self.child.take().unwrap();
        let kill = format!("kill -s TERM {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        Ran::of(child.wait_with_output().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has already been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn it_says_where_it_is_serves_and_ends_when_told() {
    let place = Place::new();
    let serving = Serving::start(place.command(&["--json", "serve", "--port", "0"]));
    assert!(serving.address.starts_with("127.0.0.1:"), "{}", serving.address);
    let answer = serving.get("/healthz");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"status\":\"ok\""), "{answer}");
    let answer = serving.get("/api/videos");
    assert!(answer.contains("\"total\":0"), "{answer}");
    let answer = serving.talk("GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // A client that says nothing does not keep it from ending.
    let silent = TcpStream::connect(&serving.address).unwrap();
    serving.end().expect(0, &["serving http://127.0.0.1:", "/docs"]);
    drop(silent);
}

#[test]
fn the_token_is_demanded_and_never_shown() {
    let place = Place::new();
    let mut command = place.command(&["--json", "serve", "--host", "0.0.0.0", "--port", "0"]);
    command.env("COURTSIDE_TOKEN", "open-sesame").env("COURTSIDE_LOG", "trace");
    let serving = Serving::start(command);
    let port = serving.address.rsplit_once(':').unwrap().1.to_owned();
    let ask = |rest: &str| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let head = format!("GET /api/videos HTTP/1.1\r\nHost: games\r\nConnection: close\r\n{rest}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("").starts_with("HTTP/1.1 401 "));
    assert!(ask("Authorization: Bearer open\r\n").starts_with("HTTP/1.1 401 "));
    assert!(ask("Authorization: Bearer open-sesame\r\n").starts_with("HTTP/1.1 200 "));
    let ran = serving.end().expect(0, &[]);
    assert!(!ran.stderr.contains("open-sesame"), "{}", ran.stderr);
}

#[test]
fn it_does_not_start_where_it_should_not() {
    let place = Place::new();
    place.run(&["serve", "--host", "0.0.0.0", "--port", "0"]).expect(3, &["COURTSIDE_TOKEN", "0.0.0.0"]);
    place.run(&["serve", "--host", "no such host", "--port", "0"]).expect(3, &["--host no such host"]);
    place.run(&["serve", "--port", "0", "--cors-origin", "*"]).expect(3, &["--cors-origin"]);
    place.run(&["serve", "--port", "0", "--cors-origin", "https://a/b"]).expect(3, &["--cors-origin"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    place.run(&["serve", "--port", &port]).expect(1, &["cannot listen at 127.0.0.1", "--port"]);
}
