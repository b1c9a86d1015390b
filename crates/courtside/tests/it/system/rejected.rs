//! Invalid requests and unusable machines: reported with the cause and a hint, and no job is harmed.

use s3_fixture::{Access, ConditionalWrites, FakeR2};

use super::Machine;
use crate::fixture::wide;

#[test]
fn a_cloud_worker_needs_a_gpu() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(14, &[]);
    let output = machine.run(&["worker", "--cloud", "--once", "--model", &wide().model()]);
    output.expect(3, &["no GPU", "--allow-cpu"]);
    assert_eq!(machine.status(&job)["attempt"], 0);
}

#[test]
fn a_worker_needs_conditional_writes() {
    let server = FakeR2::start();
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let machine = Machine::with_server(server.connection());
    machine.run_worker_once().expect(3, &["does not honour conditional writes"]);
}

#[test]
fn invalid_credentials_and_missing_buckets_are_reported() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let secret = server.connection().secret_access_key.clone();
    let mut wrong = machine.command(&["status"]);
    wrong.env("R2_ACCESS_KEY_ID", "another-key");
    let output = crate::sandbox::RunOutput::new(wrong.output().unwrap()).expect(3, &["R2_ACCESS_KEY_ID"]);
    assert!(!output.stderr.contains(&secret));
    let mut missing = machine.command(&["status"]);
    missing.env("R2_BUCKET_NAME", "missing-bucket");
    crate::sandbox::RunOutput::new(missing.output().unwrap())
        .expect(3, &["missing-bucket", "does not exist"]);
    server.set_access(Access::ReadOnly);
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["submit", "game.mkv"]).expect(3, &["denied permission to", "the permissions of that key"]);
    let mut half = machine.command(&["status"]);
    half.env_remove("R2_SECRET_ACCESS_KEY");
    crate::sandbox::RunOutput::new(half.output().unwrap()).expect(3, &["R2_SECRET_ACCESS_KEY is not"]);
}

#[test]
fn a_missing_or_changed_video_is_reported() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    let video = machine.sandbox.path("game.mkv");
    let bytes = std::fs::read(&video).unwrap();
    std::fs::remove_file(&video).unwrap();
    machine.run(&["submit", "--video-id", "1"]).expect(1, &["does not exist", "videos add"]);
    wide().video(&machine.sandbox, 9, "game.mkv");
    machine.run(&["submit", "--video-id", "1"]).expect(1, &["changed since it was added", "videos add"]);
    // The new content is added as another video.
    let added = machine.run(&["--json", "videos", "add", "game.mkv"]).expect(0, &[]).json();
    assert_eq!(
        (added["videos"][0]["id"].as_i64(), added["videos"][0]["n_frames"].as_i64()),
        (Some(2), Some(9))
    );
    // A file with the same content and another date is the same video.
    std::fs::write(&video, bytes).unwrap();
    machine.run(&["submit", "--video-id", "1"]).expect(0, &[]);
    machine.run(&["submit", "--video-id", "2"]).expect(1, &["changed since it was added"]);
    machine.run(&["submit", "--video-id", "3"]).expect(1, &["no video 3"]);
}

#[test]
fn ids_that_are_paths_are_rejected() {
    let machine = Machine::with_folder();
    for bad in ["../up", "a/b", ".hidden"] {
        for command in ["cancel", "retry", "rm", "logs"] {
            machine.run(&[command, bad]).expect(1, &["job id"]);
        }
        machine.run(&["import", "--job-id", bad]).expect(1, &["job id"]);
    }
}

#[test]
fn a_damaged_video_fails_its_job_without_retries() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let video = machine.object(&format!("videos/{job}.mkv"));
    std::fs::remove_file(&video).unwrap();
    std::fs::write(&video, b"something else").unwrap();
    machine.run_worker_once().expect(5, &["not"]);
    let failed = machine.status(&job);
    assert_eq!((failed["status"].as_str(), failed["attempt"].as_u64()), (Some("failed"), Some(1)));
    let text = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.contains(&format!("courtside retry {job}")), "{text}");
}

#[test]
fn a_library_of_a_newer_version_is_rejected() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 2, "game.mkv");
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    let path = machine.sandbox.path("basketball_analyzer.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("UPDATE courtside_schema SET version = 999", []).unwrap();
    drop(database);
    machine.run(&["videos", "list"]).expect(3, &["newer"]);
}

#[test]
fn a_disk_that_fills_up_during_an_import_loses_nothing() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    // Results that are too large for the disk.
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.object(&format!("jobs/{job}.json"))).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().remove("result");
    std::fs::write(machine.object(&format!("jobs/{job}.json")), manifest.to_string()).unwrap();
    let key = machine.object(&format!("results/{job}.json"));
    let one = |track: usize| {
        format!(r#"{{"frame":3,"track_id":{track},"bbox":[1.25,2.5,30.75,40.5],"confidence":0.5}}"#)
    };
    let detections = (0..20_000).map(one).collect::<Vec<_>>().join(",");
    std::fs::write(&key, format!(r#"{{"job_id":"{job}","video_id":1,"detections":[{detections}]}}"#))
        .unwrap();
    machine.run_on_full_disk(1 << 20, &["import", "--job-id", &job]).expect(1, &["basketball_analyzer.db"]);
    assert_eq!(machine.detections(), []);
    assert!(key.exists());
    assert_eq!(machine.status(&job)["state"], "ready_to_import");
    assert_eq!(machine.import(&job)["detections"], 20_000);
}

#[test]
fn a_disk_that_fills_up_during_a_download_ends_the_attempt_and_the_worker() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    crate::fixture::wide().video(&machine.sandbox, 14, "game.mkv");
    super::faults::pad(&machine, 8 << 20);
    let job = machine.run(&["--json", "submit", "game.mkv", "--prompt", "ball"]).expect(0, &[]).json();
    let job = job["job_id"].as_str().unwrap();
    let other = machine.another_machine();
    let worker = other.worker(&[]);
    let args: Vec<&str> = worker.get_args().map(|arg| arg.to_str().unwrap()).collect();
    other.run_on_full_disk(4 << 20, &args).expect(1, &["File too large", job]);
    let after = machine.status(job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert!(after["error"].as_str().unwrap().contains("File too large"), "{after}");
    machine.another_machine().run_worker_once().expect(0, &[]);
    machine.import(job);
    assert_eq!(machine.detections(), super::detections_without_faults(14));
}
