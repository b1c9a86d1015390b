//! What is refused at the start, with a name and a way out.

use s3_fixture::{Access, ConditionalWrites, FakeR2};

use super::Site;
use crate::fixture::wide;

#[test]
fn a_cloud_worker_without_a_gpu_says_so() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    let job = site.submit(14, &[]);
    let ran = site.run(&["worker", "--cloud", "--once", "--model", &wide().model()]);
    ran.expect(3, &["no GPU", "--allow-cpu"]);
    assert_eq!(site.status(&job)["attempt"], 0);
}

#[test]
fn a_bucket_without_conditions_gets_no_worker() {
    let server = FakeR2::start();
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let site = Site::with_server(server.connection());
    site.work().expect(3, &["does not honour conditional writes"]);
}

#[test]
fn wrong_credentials_and_missing_buckets_are_named() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    let secret = server.connection().secret_access_key.clone();
    let mut wrong = site.command(&["status"]);
    wrong.env("R2_ACCESS_KEY_ID", "somebody");
    let ran = crate::program::Ran::of(wrong.output().unwrap()).expect(4, &["R2_ACCESS_KEY_ID"]);
    assert!(!ran.stderr.contains(&secret));
    let mut missing = site.command(&["status"]);
    missing.env("R2_BUCKET_NAME", "nobodys");
    crate::program::Ran::of(missing.output().unwrap()).expect(4, &["nobodys", "does not exist"]);
    server.set_access(Access::ReadOnly);
    wide().video(&site.place, 14, "game.mkv");
    site.run(&["submit", "game.mkv"]).expect(4, &["denied permission to"]);
    let mut half = site.command(&["status"]);
    half.env_remove("R2_SECRET_ACCESS_KEY");
    crate::program::Ran::of(half.output().unwrap()).expect(3, &["R2_SECRET_ACCESS_KEY is not"]);
}

#[test]
fn a_video_that_vanished_or_changed_is_named() {
    let site = Site::with_folder();
    wide().video(&site.place, 14, "game.mkv");
    site.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    let video = site.place.path("game.mkv");
    let bytes = std::fs::read(&video).unwrap();
    std::fs::remove_file(&video).unwrap();
    site.run(&["submit", "--video-id", "1"]).expect(1, &["not there any more", "videos add"]);
    wide().video(&site.place, 9, "game.mkv");
    site.run(&["submit", "--video-id", "1"]).expect(1, &["changed since it was added", "videos add"]);
    // What it is now is another video; the first one's detections stay its own.
    let added = site.run(&["--json", "videos", "add", "game.mkv"]).expect(0, &[]).json();
    assert_eq!(
        (added["videos"][0]["id"].as_i64(), added["videos"][0]["n_frames"].as_i64()),
        (Some(2), Some(9))
    );
    // The same content with another date is the same video.
    std::fs::write(&video, bytes).unwrap();
    site.run(&["submit", "--video-id", "1"]).expect(0, &[]);
    site.run(&["submit", "--video-id", "2"]).expect(1, &["changed since it was added"]);
    site.run(&["submit", "--video-id", "3"]).expect(1, &["no video 3"]);
}

#[test]
fn ids_that_are_paths_are_refused() {
    let site = Site::with_folder();
    for bad in ["../up", "a/b", ".hidden"] {
        for command in ["cancel", "retry", "rm", "logs"] {
            site.run(&[command, bad]).expect(1, &["job id"]);
        }
        site.run(&["import", "--job-id", bad]).expect(1, &["job id"]);
    }
}

#[test]
fn a_damaged_video_fails_its_job_at_once_with_a_reason() {
    let site = Site::with_folder();
    let job = site.submit(14, &[]);
    let video = site.object(&format!("videos/{job}.mkv"));
    std::fs::remove_file(&video).unwrap();
    std::fs::write(&video, b"something else").unwrap();
    site.work().expect(5, &["not"]);
    let failed = site.status(&job);
    assert_eq!((failed["status"].as_str(), failed["attempt"].as_u64()), (Some("failed"), Some(1)));
    let text = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.contains(&format!("courtside retry {job}")), "{text}");
}

#[test]
fn a_library_of_a_newer_version_is_left_alone() {
    let site = Site::with_folder();
    site.run(&["videos", "list"]).expect(0, &[]);
    let path = site.place.path("basketball_analyzer.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("UPDATE courtside_schema SET version = 999", []).unwrap();
    drop(database);
    site.run(&["videos", "list"]).expect(3, &["newer"]);
}

#[test]
fn a_disk_that_fills_during_an_import_loses_nothing() {
    let site = Site::with_folder();
    let job = site.submit(14, &[]);
    site.work().expect(0, &[]);
    // More than the disk takes: the same detections, again and again.
    let mut register: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.object(&format!("jobs/{job}.json"))).unwrap()).unwrap();
    register.as_object_mut().unwrap().remove("result");
    std::fs::write(site.object(&format!("jobs/{job}.json")), register.to_string()).unwrap();
    let key = site.object(&format!("results/{job}.json"));
    let one = r#"{"frame":3,"track_id":1,"bbox":[1.25,2.5,30.75,40.5],"confidence":0.5}"#;
    let detections = vec![one; 20_000].join(",");
    std::fs::write(&key, format!(r#"{{"job_id":"{job}","video_id":1,"detections":[{detections}]}}"#))
        .unwrap();
    site.on_a_full_disk(1 << 20, &["import", "--job-id", &job]).expect(1, &["basketball_analyzer.db"]);
    assert_eq!(site.rows(), []);
    assert!(key.exists());
    assert_eq!(site.status(&job)["state"], "ready_to_import");
    assert_eq!(site.import(&job)["detections"], 20_000);
}

#[test]
fn a_disk_that_fills_during_a_download_costs_an_attempt_and_the_worker_ends() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    crate::fixture::wide().video(&site.place, 14, "game.mkv");
    super::disturbed::pad(&site, 8 << 20);
    let job = site.run(&["--json", "submit", "game.mkv", "--prompt", "ball"]).expect(0, &[]).json();
    let job = job["job_id"].as_str().unwrap();
    let machine = site.elsewhere();
    let worker = machine.worker(&[]);
    let args: Vec<&str> = worker.get_args().map(|arg| arg.to_str().unwrap()).collect();
    machine.on_a_full_disk(4 << 20, &args).expect(1, &["File too large", job]);
    let after = site.status(job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert!(after["error"].as_str().unwrap().contains("File too large"), "{after}");
    site.elsewhere().work().expect(0, &[]);
    site.import(job);
    assert_eq!(site.rows(), super::undisturbed(14));
}
