//! Invalid settings of the S3 server: every command ends with exit code 3, the name of the setting and a hint.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;

use s3_fixture::FakeR2;

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Sandbox};

const SECRET: &str = "hush-hush";

/// Valid settings, in which a test replaces one.
const SETTINGS: [(&str, &str); 4] = [
    ("R2_ACCOUNT_ID", "0123456789abcdef0123456789abcdef"),
    ("R2_ACCESS_KEY_ID", "id"),
    ("R2_SECRET_ACCESS_KEY", SECRET),
    // No test sends a request to the real server.
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
];

#[track_caller]
fn expect_invalid(mut command: Command, (name, value): (&str, &str)) {
    let output = RunOutput::new(command.envs(SETTINGS).env(name, value).output().unwrap());
    let all = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(3), "{name}={value:?}\n{all}");
    assert!(all.contains(name) && all.contains("hint: "), "{name}={value:?}\n{all}");
    assert!(!all.contains(SECRET), "{all}");
}

#[test]
fn an_invalid_setting_is_named_by_every_command() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    let model = wide().model();
    let commands: [&[&str]; 9] = [
        &["status"],
        &["doctor"],
        &["worker", "--once", "--model", &model],
        &["serve", "--port", "0"],
        &["submit", "game.mkv"],
        &["import", "--all"],
        &["cancel", "a"],
        &["retry", "a"],
        &["logs", "a"],
    ];
    for args in commands {
        expect_invalid(sandbox.command(args), ("R2_ACCOUNT_ID", "a\"b"));
    }
}

#[test]
fn settings_that_the_s3_client_cannot_use_are_errors() {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("R2_ACCOUNT_ID", "<ACCOUNT_ID>"),
        ("R2_ACCOUNT_ID", "https://0123.r2.cloudflarestorage.com"),
        ("R2_ENDPOINT_URL", "https://<ACCOUNT_ID>.r2.cloudflarestorage.com"),
        ("R2_ENDPOINT_URL", "https://"),
        ("R2_ENDPOINT_URL", "https://a b.example"),
        ("R2_ENDPOINT_URL", "https://exämple.com"),
        ("R2_ENDPOINT_URL", "https://h:99999"),
        ("R2_ENDPOINT_URL", "https://0123.r2.cloudflarestorage.com/games"),
        ("R2_ACCESS_KEY_ID", "i\nd"),
        ("R2_ACCESS_KEY_ID", "ïd"),
        ("R2_SECRET_ACCESS_KEY", "hush-hush\nhush"),
        ("R2_REGION", "au to"),
        ("R2_BUCKET_NAME", "my bucket"),
    ] {
        expect_invalid(sandbox.command(&["status"]), (name, value));
    }
    assert!(!sandbox.path("videos").exists());
}

#[test]
fn quotes_around_an_account_id_are_removed() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["status"]);
    command.envs(SETTINGS).env("R2_ACCOUNT_ID", "\"0123\"").env("COURTSIDE_LOG", "off");
    let output = RunOutput::new(command.output().unwrap());
    output.expect(4, &["https://0123.r2.cloudflarestorage.com is not responding", "try again later"]);
}

#[test]
fn an_endpoint_with_the_bucket_in_its_path_uploads_to_the_bucket() {
    let server = FakeR2::start();
    let connection = server.connection();
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    let mut command = sandbox.command(&["submit", "game.mkv"]);
    command.env("R2_ENDPOINT_URL", format!("{}/{}", connection.endpoint, connection.bucket));
    command.env("R2_BUCKET_NAME", &connection.bucket).env("R2_ACCESS_KEY_ID", &connection.access_key_id);
    command.env("R2_SECRET_ACCESS_KEY", &connection.secret_access_key);
    RunOutput::new(command.output().unwrap()).expect(0, &[]);
    let keys = server.keys();
    assert!(keys.iter().any(|key| key.starts_with("jobs/")), "{keys:?}");
    assert!(keys.iter().all(|key| !key.starts_with(&connection.bucket)), "{keys:?}");
}

/// A server that answers every request with a web page. Returns its address.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines();
            let _ = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let page = "<!DOCTYPE html><title>Log in</title>";
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}", page.len());
            let _ = write!(&stream, "{head}\r\nConnection: close\r\n\r\n{page}");
        }
    });
    address
}

#[test]
fn a_web_server_is_not_an_empty_bucket() {
    let (sandbox, address) = (Sandbox::new(), web_server());
    wide().video(&sandbox, 2, "game.mkv");
    for args in [&["status"][..], &["submit", "game.mkv"], &["import", "--all"], &["doctor"]] {
        let mut command = sandbox.command(args);
        command.envs(SETTINGS).env("R2_ENDPOINT_URL", &address);
        let output = RunOutput::new(command.output().unwrap());
        let all = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, Some(3), "{args:?}\n{all}");
        assert!(all.contains("cannot be used") && all.contains("set R2_ENDPOINT_URL"), "{args:?}\n{all}");
    }
}
