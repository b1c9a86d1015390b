//! `courtside doctor` on working and faulty machines and buckets.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use s3_fixture::{Access, ConditionalWrites, FakeR2};
use serde_json::Value;

use crate::export;
use crate::fixture::wide;
use crate::hub::Hub;
use crate::model_lookup::assert_no_default;
use crate::sandbox::{RunOutput, Sandbox};

/// Must not appear in any output.
const SECRET: &str = "fake-secret-access-key";

/// `courtside doctor --json` with a complete model.
fn doctor(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command(&["doctor", "--json"]);
    command.env("CLOUD_MODEL_PATH", wide().model());
    command
}

/// As [`doctor`], with a bucket on this server.
fn with_bucket(sandbox: &Sandbox, server: &FakeR2) -> Command {
    let connection = server.connection();
    let mut command = doctor(sandbox);
    command.env("R2_ENDPOINT_URL", &connection.endpoint).env("R2_BUCKET_NAME", &connection.bucket);
    command.env("R2_ACCESS_KEY_ID", &connection.access_key_id).env("R2_SECRET_ACCESS_KEY", SECRET);
    command
}

/// Runs the command. Returns `NAME STATUS` and `MESSAGE -> HINT` of each check.
#[track_caller]
fn examine(mut command: Command, code: i32) -> Vec<(String, String)> {
    let output = RunOutput::new(command.output().unwrap()).expect(code, &[]);
    assert!(
        !output.stdout.contains(SECRET) && !output.stderr.contains(SECRET),
        "{}{}",
        output.stdout,
        output.stderr
    );
    let report = output.json();
    assert_eq!(report["ok"], code == 0, "{report}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let check = |c: &Value| {
        let name = format!("{} {}", text(&c["name"]), text(&c["status"]));
        (name, format!("{} -> {}", text(&c["message"]), text(&c["hint"])))
    };
    report["checks"].as_array().unwrap().iter().map(check).collect()
}

/// Asserts that one check with this name and status contains all these words.
#[track_caller]
fn assert_check(checks: &[(String, String)], name: &str, words: &[&str]) {
    let fits = |(n, text): &(String, String)| n == name && words.iter().all(|word| text.contains(word));
    assert!(checks.iter().any(fits), "no {name:?} with {words:?} in {checks:#?}");
}

/// Names of the checks that are not ok, except of disk space, which depends on the machine.
fn not_ok(checks: &[(String, String)]) -> Vec<&str> {
    checks
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|n| !n.ends_with(" ok") && !n.starts_with("disk"))
        .collect()
}

#[test]
fn passes_without_any_settings() {
    let sandbox = Sandbox::new();
    let checks = examine(doctor(&sandbox), 0);
    assert_eq!(not_ok(&checks), [""; 0]);
    assert_check(&checks, "ffmpeg ok", &["ffmpeg ", "ffprobe "]);
    assert_check(&checks, "model ok", &["fixtures/wide is complete"]);
    assert_check(&checks, "gpu ok", &["tracks on the CPU"]);
    assert_check(&checks, "settings ok", &["no R2 settings", "basketball-analyzer"]);
    assert_check(&checks, "database ok", &["basketball_analyzer.db does not exist yet"]);
    assert_check(&checks, "bucket ok", &["does not exist yet"]);
    assert_check(&checks, "uploads ok", &["none"]);
    assert!(checks.iter().any(|(name, text)| name.starts_with("disk") && text.contains(" free for ")));
    // The checks created no files.
    assert!(sandbox.names().is_empty(), "{:?}", sandbox.names());
}

#[test]
fn prints_one_line_per_check_and_a_hint() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["doctor"]);
    let output = RunOutput::new(command.env("CLOUD_MODEL_PATH", "/nowhere").output().unwrap());
    let output = output.expect(3, &["error: 1 of ", " checks failed"]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines[0].starts_with("ok    ffmpeg       ffmpeg "), "{}", output.stdout);
    assert_eq!(
        lines[1],
        "FAIL  model        the model folder /nowhere (from CLOUD_MODEL_PATH) does not exist"
    );
    assert_eq!(
        lines[2].trim_start(),
        "hint: name the folder that contains config.json and model.safetensors"
    );
    assert!(lines[3..].iter().any(|line| line.starts_with("ok    database ")), "{}", output.stdout);
}

#[test]
fn reports_invalid_manifests_and_unfinished_uploads() {
    let sandbox = export::sandbox_with_import();
    std::fs::create_dir_all(sandbox.path("basketball-analyzer/jobs")).unwrap();
    sandbox.write("basketball-analyzer/jobs/broken.json", "{\"job_id\": \"\u{1b}[2Jbroken\"");
    let uploads = sandbox.path("videos/.courtside/uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    std::fs::write(uploads.join("half-way.json"), "{}").unwrap();
    let checks = examine(doctor(&sandbox), 0);
    assert_check(&checks, "database ok", &["1 video, 1 job, 1 imported", "write-ahead log"]);
    assert_check(&checks, "bucket ok", &["readable; 0 jobs"]);
    assert_check(&checks, "bucket ok", &["writable; conditional writes work"]);
    assert_check(&checks, "bucket warn", &["jobs/broken.json is skipped"]);
    assert_check(&checks, "uploads warn", &["unfinished: half-way", "courtside submit --resume half-way"]);
    assert_eq!(not_ok(&checks), ["bucket warn", "uploads warn"]);
    assert!(
        !sandbox.path("basketball-analyzer/probe").read_dir().is_ok_and(|mut probes| probes.next().is_some())
    );
}

#[test]
fn fails_if_ffmpeg_is_missing_or_too_old() {
    let sandbox = Sandbox::new();
    let mut command = doctor(&sandbox);
    command.env("COURTSIDE_FFMPEG", "/nowhere/ffmpeg");
    let checks = examine(command, 3);
    assert_check(&checks, "ffmpeg fail", &["COURTSIDE_FFMPEG names /nowhere/ffmpeg", "5.1"]);
    assert_eq!(not_ok(&checks), ["ffmpeg fail"]);
    write_script(&sandbox, "old", "echo ffmpeg version 4.4.2 Copyright");
    let mut command = doctor(&sandbox);
    command.env("COURTSIDE_FFMPEG", sandbox.path("old"));
    assert_check(&examine(command, 3), "ffmpeg fail", &["too old", "apt-get install ffmpeg"]);
}

/// Writes an executable shell script.
fn write_script(sandbox: &Sandbox, name: &str, script: &str) {
    sandbox.write(name, format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(sandbox.path(name), PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn warns_about_a_gpu_that_this_build_does_not_use() {
    let sandbox = Sandbox::new();
    write_script(&sandbox, "nvidia-smi", "echo 'Some Card, 143771 MiB'");
    let mut command = doctor(&sandbox);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", sandbox.folder().display()));
    let checks = examine(command, 0);
    assert_check(&checks, "gpu warn", &["Some Card, 143771 MiB is not used", "tracks on the CPU"]);
}

#[test]
fn invalid_settings_stop_only_the_checks_that_need_them() {
    let sandbox = Sandbox::new();
    let mut command = doctor(&sandbox);
    command.env("R2_ACCESS_KEY_ID", "id").env("R2_SECRET_ACCESS_KEY", SECRET);
    let checks = examine(command, 3);
    assert_check(&checks, "settings fail", &["R2_ACCOUNT_ID", "or unset all R2_ settings"]);
    assert_check(&checks, "ffmpeg ok", &[]);
    assert_check(&checks, "model ok", &[]);
}

#[test]
fn checks_a_model_folder_or_access_to_the_download() {
    assert_no_default();
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("model")).unwrap();
    sandbox.write("model/config.json", "{}");
    let mut command = doctor(&sandbox);
    command.env("CLOUD_MODEL_PATH", sandbox.path("model"));
    assert_check(&examine(command, 3), "model fail", &["model", "courtside model check"]);

    let hub = Hub::start(vec![("config.json".to_owned(), b"{}".to_vec())]);
    let check = |token: &str| {
        let mut command = sandbox.command(&["doctor", "--json"]);
        examine(
            {
                command.env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", token);
                command
            },
            0,
        )
    };
    assert_check(
        &check("hf_hush"),
        "model ok",
        &["will be downloaded when needed", "HF_TOKEN is set", "access granted"],
    );
    assert!(hub.requests().iter().all(|request| request.method == "HEAD"), "content was requested");
    hub.state().refuse = Some(403);
    let checks = check("");
    assert_check(&checks, "model warn", &["HF_TOKEN is not set", "gated", "huggingface.co/facebook/sam3"]);
    assert_check(&check("hf_hush"), "model warn", &["HF_TOKEN is set"]);
    // An unreachable hub is only a warning, because submitting needs no model.
    let mut command = sandbox.command(&["doctor", "--json"]);
    command.env("HF_ENDPOINT", "http://127.0.0.1:1");
    let words = [
        "cannot reach the Hugging Face Hub",
        "only tracking on this machine needs a model",
        "CLOUD_MODEL_PATH",
    ];
    assert_check(&examine(command, 0), "model warn", &words);
    assert!(!format!("{checks:?}").contains("hf_hush"));
}

#[test]
fn passes_with_a_working_server() {
    let (sandbox, server) = (Sandbox::new(), FakeR2::start());
    let checks = examine(with_bucket(&sandbox, &server), 0);
    assert_eq!(not_ok(&checks), [""; 0]);
    let connection = server.connection();
    assert_check(&checks, "settings ok", &["cloud jobs in bucket", &connection.bucket, &connection.endpoint]);
    assert_check(&checks, "bucket ok", &["readable; 0 jobs"]);
    assert_check(&checks, "bucket ok", &["writable; conditional writes work"]);
    assert_check(&checks, "clock ok", &["within a minute"]);
    assert_check(&checks, "local bucket ok", &[]);
    assert_eq!(server.keys(), [""; 0]);
}

#[test]
fn fails_if_the_server_ignores_conditional_writes() {
    let (sandbox, server) = (Sandbox::new(), FakeR2::start());
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let checks = examine(with_bucket(&sandbox, &server), 3);
    assert_check(&checks, "bucket ok", &["readable"]);
    assert_check(&checks, "bucket fail", &["does not honour conditional writes", "Cloudflare R2"]);
    assert_eq!(not_ok(&checks), ["bucket fail"]);
}

#[test]
fn fails_with_invalid_or_insufficient_credentials() {
    let (sandbox, server) = (Sandbox::new(), FakeR2::start());
    for access in [Access::None, Access::WrongSecret, Access::UnknownKey] {
        server.set_access(access);
        let checks = examine(with_bucket(&sandbox, &server), 3);
        assert_check(&checks, "bucket fail", &["denied permission to list jobs/", "R2_SECRET_ACCESS_KEY"]);
        // The other checks run anyway. The clock may be the cause.
        assert_eq!(not_ok(&checks), ["bucket fail"], "{access:?}");
        assert_check(&checks, "clock ok", &[]);
    }
    server.set_access(Access::ReadOnly);
    let checks = examine(with_bucket(&sandbox, &server), 3);
    assert_check(&checks, "bucket ok", &["readable"]);
    assert_check(
        &checks,
        "bucket fail",
        &["denied permission to write probe/", "the permissions of that key"],
    );
}

#[test]
fn fails_if_the_bucket_or_server_does_not_exist() {
    let (sandbox, server) = (Sandbox::new(), FakeR2::start());
    let mut command = with_bucket(&sandbox, &server);
    command.env("R2_BUCKET_NAME", "another");
    assert_check(
        &examine(command, 3),
        "bucket fail",
        &["bucket another", "does not exist", "R2_BUCKET_NAME"],
    );
    server.stop();
    let checks = examine(with_bucket(&sandbox, &server), 4);
    assert_check(&checks, "bucket fail", &["is not responding"]);
    assert_check(&checks, "clock warn", &["cannot compare"]);
    assert_check(&checks, "database ok", &[]);
}

#[test]
fn fails_if_the_clock_is_far_off() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // A server that rejects every signed request, and whose clock is in 2017.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let answer = "HTTP/1.1 403 Forbidden\r\nDate: Mon, 02 Jan 2017 03:04:05 GMT\r\nContent-Length: 0\r\n\
                          Connection: close\r\n\r\n";
            // Clients may close the connection early.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let mut command = doctor(&sandbox);
    command
        .env("R2_ENDPOINT_URL", &endpoint)
        .env("R2_ACCESS_KEY_ID", "id")
        .env("R2_SECRET_ACCESS_KEY", SECRET);
    let checks = examine(command, 3);
    assert_check(&checks, "clock fail", &["ahead of the bucket server's", "timedatectl"]);
    assert_eq!(not_ok(&checks), ["bucket fail", "clock fail"]);
}

#[test]
fn fails_if_the_database_cannot_be_opened() {
    let sandbox = Sandbox::new();
    drop(export::library(&sandbox));
    let conn = rusqlite::Connection::open(sandbox.path("basketball_analyzer.db")).unwrap();
    conn.execute("UPDATE courtside_schema SET version = 99", []).unwrap();
    drop(conn);
    let checks = examine(doctor(&sandbox), 3);
    assert_check(&checks, "database fail", &["newer version of courtside", "99"]);
    assert_eq!(not_ok(&checks), ["database fail"]);
    sandbox.write("notes.txt", "not a database, but long enough to look like one".repeat(40));
    let mut command = doctor(&sandbox);
    command.env("DATABASE_URL", "sqlite:///notes.txt");
    assert_check(&examine(command, 3), "database fail", &["notes.txt", "not a SQLite database"]);
    let mut command = doctor(&sandbox);
    command.env("DATABASE_URL", "sqlite:///nowhere/library.db");
    let checks = examine(command, 1);
    assert_check(&checks, "database fail", &["nowhere", "DATABASE_URL"]);
    let mut command = doctor(&sandbox);
    command.env("DATABASE_URL", "postgresql://me:hunter2@host/db");
    let checks = examine(command, 3);
    assert_check(&checks, "settings fail", &["postgresql is not supported"]);
    assert!(!format!("{checks:?}").contains("hunter2"));
}
