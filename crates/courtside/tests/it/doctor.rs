//! `courtside doctor` on machines and buckets in good and in bad order.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use s3_fixture::{Access, ConditionalWrites, FakeR2};
use serde_json::Value;

use crate::export;
use crate::fixture::wide;
use crate::hub::Hub;
use crate::places::assert_no_default;
use crate::program::{Place, Ran};

/// What no output may hold.
const SECRET: &str = "fake-secret-access-key";

/// `doctor` with a good checkpoint.
fn doctor(place: &Place) -> Command {
    let mut command = place.command(&["doctor", "--json"]);
    command.env("CLOUD_MODEL_PATH", wide().model());
    command
}

/// The same with this bucket.
fn with_bucket(place: &Place, server: &FakeR2) -> Command {
    let connection = server.connection();
    let mut command = doctor(place);
    command.env("R2_ENDPOINT_URL", &connection.endpoint).env("R2_BUCKET_NAME", &connection.bucket);
    command.env("R2_ACCESS_KEY_ID", &connection.access_key_id).env("R2_SECRET_ACCESS_KEY", SECRET);
    command
}

/// Runs it, and gives the checks as `name status` with their messages and hints.
#[track_caller]
fn examine(mut command: Command, code: i32) -> Vec<(String, String)> {
    let ran = Ran::of(command.output().unwrap()).expect(code, &[]);
    assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{}{}", ran.stdout, ran.stderr);
    let report = ran.json();
    assert_eq!(report["ok"], code == 0, "{report}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let check = |c: &Value| {
        let name = format!("{} {}", text(&c["name"]), text(&c["status"]));
        (name, format!("{} -> {}", text(&c["message"]), text(&c["hint"])))
    };
    report["checks"].as_array().unwrap().iter().map(check).collect()
}

/// Whether there is such a check whose text has all these words.
#[track_caller]
fn assert_check(checks: &[(String, String)], name: &str, words: &[&str]) {
    let fits = |(n, text): &(String, String)| n == name && words.iter().all(|word| text.contains(word));
    assert!(checks.iter().any(fits), "no {name:?} with {words:?} in {checks:#?}");
}

/// Names of those that are not as they should be. Space on the disk is the machine's own affair.
fn not_ok(checks: &[(String, String)]) -> Vec<&str> {
    checks
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|n| !n.ends_with(" ok") && !n.starts_with("disk"))
        .collect()
}

#[test]
fn a_machine_without_a_server() {
    let place = Place::new();
    let checks = examine(doctor(&place), 0);
    assert_eq!(not_ok(&checks), [""; 0]);
    assert_check(&checks, "ffmpeg ok", &["ffmpeg ", "ffprobe "]);
    assert_check(&checks, "checkpoint ok", &["fixtures/wide", "every tensor"]);
    assert_check(&checks, "gpu ok", &["no GPU backend", "CPU"]);
    assert_check(&checks, "settings ok", &["no R2_ settings", "basketball-analyzer"]);
    assert_check(&checks, "database ok", &["basketball_analyzer.db is not there yet"]);
    assert_check(&checks, "bucket ok", &["is not there yet"]);
    assert_check(&checks, "uploads ok", &["none"]);
    assert!(checks.iter().any(|(name, text)| name.starts_with("disk") && text.contains(" free for ")));
    // Looking makes nothing.
    assert!(place.names().is_empty(), "{:?}", place.names());
}

#[test]
fn people_get_lines_as_they_come() {
    let place = Place::new();
    let mut command = place.command(&["doctor"]);
    let ran = Ran::of(command.env("CLOUD_MODEL_PATH", "/nowhere").output().unwrap());
    let ran = ran.expect(3, &["error: 1 of ", " checks failed"]);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("ok    ffmpeg      ffmpeg "), "{}", ran.stdout);
    assert_eq!(
        lines[1],
        "FAIL  checkpoint  the checkpoint folder /nowhere (from CLOUD_MODEL_PATH) does not exist"
    );
    assert_eq!(lines[2].trim_start(), "-> it is the folder that holds config.json and model.safetensors");
    assert!(lines[3..].iter().any(|line| line.starts_with("ok    database ")), "{}", ran.stdout);
}

#[test]
fn a_library_and_a_folder_in_use() {
    let place = export::a_place();
    place.run(&["status"]).expect(0, &[]);
    place.write("basketball-analyzer/jobs/broken.json", "{\"job_id\": \"\u{1b}[2Jbroken\"");
    let uploads = place.path("videos/.courtside/uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    std::fs::write(uploads.join("half-way.json"), "{}").unwrap();
    let checks = examine(doctor(&place), 0);
    assert_check(&checks, "database ok", &["1 videos, 1 jobs, 1 of them imported", "write-ahead log"]);
    assert_check(&checks, "bucket ok", &["can be listed; 0 jobs"]);
    assert_check(&checks, "bucket ok", &["conditions of writes are kept"]);
    assert_check(&checks, "bucket warn", &["jobs/broken.json cannot be understood"]);
    assert_check(&checks, "uploads warn", &["unfinished: half-way", "courtside submit"]);
    assert_eq!(not_ok(&checks), ["bucket warn", "uploads warn"]);
    assert!(
        !place.path("basketball-analyzer/probe").read_dir().is_ok_and(|mut probes| probes.next().is_some())
    );
}

#[test]
fn an_ffmpeg_that_is_missing_or_too_old() {
    let place = Place::new();
    let mut command = doctor(&place);
    command.env("COURTSIDE_FFMPEG", "/nowhere/ffmpeg");
    let checks = examine(command, 3);
    assert_check(&checks, "ffmpeg fail", &["COURTSIDE_FFMPEG names /nowhere/ffmpeg", "5.1"]);
    assert_eq!(not_ok(&checks), ["ffmpeg fail"]);
    program(&place, "old", "echo ffmpeg version 4.4.2 Copyright");
    let mut command = doctor(&place);
    command.env("COURTSIDE_FFMPEG", place.path("old"));
    assert_check(&examine(command, 3), "ffmpeg fail", &["too old", "apt-get install ffmpeg"]);
}

/// A program of the shell.
fn program(place: &Place, name: &str, script: &str) {
    place.write(name, format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn a_graphics_card_is_named_and_not_used() {
    let place = Place::new();
    program(&place, "nvidia-smi", "echo 'Some Card, 143771 MiB'");
    let mut command = doctor(&place);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", place.folder().display()));
    let checks = examine(command, 0);
    assert_check(&checks, "gpu warn", &["Some Card, 143771 MiB is here", "no GPU backend and cannot use it"]);
}

#[test]
fn settings_that_are_wrong_end_only_what_needs_them() {
    let place = Place::new();
    let mut command = doctor(&place);
    command.env("R2_ACCESS_KEY_ID", "id").env("R2_SECRET_ACCESS_KEY", SECRET);
    let checks = examine(command, 3);
    assert_check(&checks, "settings fail", &["R2_ACCOUNT_ID", "or none of the R2_ settings"]);
    assert_check(&checks, "ffmpeg ok", &[]);
    assert_check(&checks, "checkpoint ok", &[]);
}

#[test]
fn a_checkpoint_that_is_damaged_or_still_on_the_hub() {
    assert_no_default();
    let place = Place::new();
    std::fs::create_dir(place.path("model")).unwrap();
    place.write("model/config.json", "{}");
    let mut command = doctor(&place);
    command.env("CLOUD_MODEL_PATH", place.path("model"));
    assert_check(&examine(command, 3), "checkpoint fail", &["model", "courtside model check"]);

    let hub = Hub::start(vec![("config.json".to_owned(), b"{}".to_vec())]);
    let ask = |token: &str| {
        let mut command = place.command(&["doctor", "--json"]);
        examine(
            {
                command.env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", token);
                command
            },
            0,
        )
    };
    assert_check(
        &ask("hf_hush"),
        "checkpoint ok",
        &["downloaded at first use", "HF_TOKEN is set", "access granted"],
    );
    assert!(
        hub.requests().iter().all(|request| request.range == (0, Some(1))),
        "more than a byte was asked for"
    );
    hub.state().refuse = Some(403);
    let checks = ask("");
    assert_check(
        &checks,
        "checkpoint warn",
        &["HF_TOKEN is not set", "gated", "huggingface.co/facebook/sam3"],
    );
    assert_check(&ask("hf_hush"), "checkpoint warn", &["HF_TOKEN is set"]);
    // Nobody listens there; whoever only submits can do without.
    let mut command = place.command(&["doctor", "--json"]);
    command.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let words = ["hub cannot be asked", "submitting, importing and serving do not", "CLOUD_MODEL_PATH"];
    assert_check(&examine(command, 0), "checkpoint warn", &words);
    assert!(!format!("{checks:?}").contains("hf_hush"));
}

#[test]
fn a_server_in_good_order() {
    let (place, server) = (Place::new(), FakeR2::start());
    let checks = examine(with_bucket(&place, &server), 0);
    assert_eq!(not_ok(&checks), [""; 0]);
    let connection = server.connection();
    assert_check(&checks, "settings ok", &["cloud jobs: bucket", &connection.bucket, &connection.endpoint]);
    assert_check(&checks, "bucket ok", &["can be listed; 0 jobs"]);
    assert_check(&checks, "bucket ok", &["conditions of writes are kept"]);
    assert_check(&checks, "clock ok", &["within a minute"]);
    assert_check(&checks, "local jobs ok", &[]);
    assert_eq!(server.keys(), [""; 0]);
}

#[test]
fn a_server_that_ignores_conditions() {
    let (place, server) = (Place::new(), FakeR2::start());
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let checks = examine(with_bucket(&place, &server), 3);
    assert_check(&checks, "bucket ok", &["can be listed"]);
    assert_check(&checks, "bucket fail", &["does not honour conditional writes", "Cloudflare R2"]);
    assert_eq!(not_ok(&checks), ["bucket fail"]);
}

#[test]
fn keys_that_are_wrong_or_may_too_little() {
    let (place, server) = (Place::new(), FakeR2::start());
    for access in [Access::None, Access::WrongSecret, Access::UnknownKey] {
        server.set_access(access);
        let checks = examine(with_bucket(&place, &server), 4);
        assert_check(&checks, "bucket fail", &["denied permission to list jobs/", "R2_SECRET_ACCESS_KEY"]);
        // The rest is looked at all the same, the clock too: it may be the reason.
        assert_eq!(not_ok(&checks), ["bucket fail"], "{access:?}");
        assert_check(&checks, "clock ok", &[]);
    }
    server.set_access(Access::ReadOnly);
    let checks = examine(with_bucket(&place, &server), 4);
    assert_check(&checks, "bucket ok", &["can be listed"]);
    assert_check(&checks, "bucket fail", &["denied permission to write probe/", "the rights of that key"]);
}

#[test]
fn a_bucket_or_a_server_that_is_not_there() {
    let (place, server) = (Place::new(), FakeR2::start());
    let mut command = with_bucket(&place, &server);
    command.env("R2_BUCKET_NAME", "another");
    assert_check(
        &examine(command, 4),
        "bucket fail",
        &["bucket another", "does not exist", "R2_BUCKET_NAME"],
    );
    server.stop();
    let checks = examine(with_bucket(&place, &server), 4);
    assert_check(&checks, "bucket fail", &["is not responding"]);
    assert_check(&checks, "clock warn", &["not compared"]);
    assert_check(&checks, "database ok", &[]);
}

#[test]
fn a_clock_that_is_an_hour_off() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // A server that refuses whatever is signed, as those do whose clock is another; in 2017.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let answer = "HTTP/1.1 403 Forbidden\r\nDate: Mon, 02 Jan 2017 03:04:05 GMT\r\nContent-Length: 0\r\n\
                          Connection: close\r\n\r\n";
            // A client that hangs up is no failure of the server.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut command = doctor(&place);
    command
        .env("R2_ENDPOINT_URL", &endpoint)
        .env("R2_ACCESS_KEY_ID", "id")
        .env("R2_SECRET_ACCESS_KEY", SECRET);
    let checks = examine(command, 4);
    assert_check(&checks, "clock fail", &["ahead of the bucket server's", "timedatectl"]);
    assert_eq!(not_ok(&checks), ["bucket fail", "clock fail"]);
}

#[test]
fn a_database_that_is_newer_or_none() {
    let place = Place::new();
    drop(export::library(&place));
    let conn = rusqlite::Connection::open(place.path("basketball_analyzer.db")).unwrap();
    conn.execute("UPDATE courtside_schema SET version = 99", []).unwrap();
    drop(conn);
    let checks = examine(doctor(&place), 3);
    assert_check(&checks, "database fail", &["newer courtside", "99"]);
    assert_eq!(not_ok(&checks), ["database fail"]);
    place.write("notes.txt", "no database, but long enough to be taken for one".repeat(40));
    let mut command = doctor(&place);
    command.env("DATABASE_URL", "sqlite:///notes.txt");
    assert_check(&examine(command, 3), "database fail", &["notes.txt", "not a SQLite database"]);
    let mut command = doctor(&place);
    command.env("DATABASE_URL", "sqlite:///nowhere/library.db");
    let checks = examine(command, 1);
    assert_check(&checks, "database fail", &["nowhere", "DATABASE_URL"]);
    let mut command = doctor(&place);
    command.env("DATABASE_URL", "postgresql://me:hunter2@host/db");
    let checks = examine(command, 3);
    assert_check(&checks, "settings fail", &["postgresql is not supported"]);
    assert!(!format!("{checks:?}").contains("hunter2"));
}
