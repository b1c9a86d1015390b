//! Submitting a video once, and once more: nothing is uploaded or tracked twice without a word.

use rusqlite::Connection as Sqlite;
use s3_fixture::{FakeR2, Fault, Gate, Op};
use serde_json::Value;

use super::legacy_programs::manifest;
use super::{Machine, detections_without_faults};
use crate::fixture::wide;
use crate::sandbox::Running;

/// The words after `courtside ` in the first hint of this form.
fn hinted(text: &str, command: &str) -> Vec<String> {
    let start = text.find(&format!("`courtside {command}")).unwrap_or_else(|| panic!("{command}: {text}"));
    let hint = text[start + 1..].split('`').next().unwrap();
    hint.split_whitespace().skip(1).map(str::to_owned).collect()
}

fn run_hint(machine: &Machine, text: &str, command: &str) -> crate::sandbox::RunOutput {
    let words = hinted(text, command);
    machine.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn videos(machine: &Machine) -> usize {
    std::fs::read_dir(machine.object("videos")).unwrap().count()
}

#[test]
fn an_unfinished_upload_is_resumed_by_the_command_that_status_names() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    wide().video(&machine.sandbox, 14, "game.mkv");
    let gate = Gate::new();
    server.fail_next(Op::UploadPart, "videos/", Fault::Hold(gate.clone()));
    let args = ["submit", "game.mkv", "--prompt", "ball", "--sample-interval", "2", "--max-attempts", "7"];
    let mut upload = Running::start(machine.command(&args));
    let journals = machine.sandbox.path("videos/.courtside/uploads");
    let has_journal = || {
        std::fs::read_dir(&journals)
            .ok()?
            .flatten()
            .find(|e| e.path().extension().is_some_and(|x| x == "json"))
            .map(drop)
    };
    upload.wait_for("the upload", has_journal);
    upload.kill();
    gate.open();
    let status = machine.run(&["status"]).expect(0, &[]).stdout;
    let doctor = machine.run(&["doctor"]).stdout;
    assert!(doctor.contains("unfinished: "), "{doctor}");
    hinted(&doctor, "submit --resume");
    run_hint(&machine, &status, "submit --resume").expect(0, &[]);
    let jobs = machine.run(&["--json", "status"]).expect(0, &[]).json()["jobs"].clone();
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    let key = format!("jobs/{}.json", jobs[0]["job_id"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&server.object(&key).unwrap().body).unwrap();
    assert_eq!(manifest["parameters"]["sample_interval"], 2);
    assert_eq!(manifest["max_attempts"], 7);
    assert!(manifest["parameters"]["max_attempts"].is_null());
    assert!(machine.run(&["doctor"]).stdout.contains("none unfinished"));
    run_hint(&machine, &status, "submit --resume").expect(1, &["has no unfinished upload"]);
}

#[test]
fn a_video_is_uploaded_once_for_all_its_jobs() {
    let machine = Machine::with_folder();
    let first = machine.submit(14, &[]);
    let second = machine.submit(14, &["--sample-interval", "2"]);
    assert_eq!(videos(&machine), 1);
    let second_manifest = manifest(&machine, &second);
    assert_eq!(second_manifest["parameters"]["video_key"], format!("videos/{first}.mkv"));
    // The second job still needs the video of the first.
    machine.run(&["rm", "--force", &first]).expect(0, &[]);
    assert_eq!(videos(&machine), 1);
    machine.run_worker_once().expect(0, &[]);
    machine.run(&["import", "--job-id", &second, "--delete-video"]).expect(0, &[]);
    assert_eq!(videos(&machine), 0);
}

#[test]
fn an_import_does_not_delete_a_video_that_another_job_needs() {
    let machine = Machine::with_folder();
    let first = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    let second = machine.submit(14, &["--sample-interval", "2"]);
    machine.run(&["import", "--job-id", &first, "--delete-video"]).expect(0, &[]);
    assert_eq!(videos(&machine), 1);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&second);
}

#[test]
fn a_video_that_is_not_in_the_bucket_any_more_is_uploaded_again() {
    let machine = Machine::with_folder();
    let first = machine.submit(14, &[]);
    std::fs::remove_file(machine.object(&format!("videos/{first}.mkv"))).unwrap();
    machine.submit(14, &["--sample-interval", "2"]);
    assert_eq!(videos(&machine), 1);
    // The first job fails without its video, and gets it back with a retry.
    machine.run(&["cancel", &first]).expect(0, &[]);
    machine.run(&["retry", &first]).expect(0, &[]);
    assert_eq!(videos(&machine), 2);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&first);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn the_same_job_is_submitted_again_only_on_request() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let submit = ["submit", "game.mkv", "--prompt", "ball"];
    machine.run(&submit).expect(1, &[&job, "it waits for a worker", "--again"]);
    machine.run_worker_once().expect(0, &[]);
    machine.run(&submit).expect(1, &["its results are ready to import", "--again"]);
    machine.import(&job);
    machine.run(&submit).expect(1, &["its results are in the library", "--again"]);
    machine.run(&[&submit[..], &["--again"]].concat()).expect(0, &[]);
    // Neither another parameter nor a cancelled job is the same.
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run(&["submit", "game.mkv", "--prompt", "ball", "--max-seconds", "1"]).expect(0, &[]);
    machine.run(&["cancel", &job]).expect(0, &[]);
    machine.run(&submit).expect(0, &[]);
}

/// A machine with a video row as the analyzer app writes it.
fn with_row_of_app(file_path: &str, r2_key: Option<&str>) -> Machine {
    let machine = Machine::with_folder();
    drop(store::Library::open(machine.sandbox.path("basketball_analyzer.db").to_str().unwrap()).unwrap());
    let database = Sqlite::open(machine.sandbox.path("basketball_analyzer.db")).unwrap();
    let insert = "INSERT INTO games (name, date, home_team, away_team, created_at, updated_at) VALUES ('a', '2026-01-22',
        'b', 'c', '2026-01-22 00:00:00.000000', '2026-01-22 00:00:00.000000')";
    database.execute(insert, []).unwrap();
    let insert =
        "INSERT INTO videos (game_id, file_path, r2_key, duration_seconds, fps, upload_date, processed,
        processing_status) VALUES (1, ?1, ?2, 1.4, 10.0, '2026-01-22 00:00:00.000000', 0, 'PENDING')";
    database.execute(insert, (file_path, r2_key)).unwrap();
    machine
}

#[test]
fn videos_relative_to_the_storage_folder_are_submitted_and_exported() {
    for (stored_at, file_path) in [
        ("videos/game_3/clip.mkv", "game_3/clip.mkv"),
        ("videos/game_3/clip.mkv", "./videos/game_3/clip.mkv"),
        ("clip.mkv", "clip.mkv"),
    ] {
        let machine = with_row_of_app(file_path, None);
        wide().video(&machine.sandbox, 14, "made.mkv");
        let file = machine.sandbox.path(stored_at);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::rename(machine.sandbox.path("made.mkv"), &file).unwrap();
        let submitted = machine.run(&["--json", "submit", "--video-id", "1", "--prompt", "ball"]);
        let job = submitted.expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned();
        machine.run_worker_once().expect(0, &[]);
        machine.import(&job);
        assert_eq!(machine.detections(), detections_without_faults(14));
        machine.run(&["export", "1", "--format", "video", "--out", "out.mp4"]).expect(0, &[]);
        // The same file by its own path is the same video.
        let added = machine.run(&["--json", "videos", "add", stored_at]).expect(0, &[]).json();
        assert_eq!(added["videos"][0]["id"], 1);
    }
}

#[test]
fn a_video_that_only_the_bucket_has_is_submitted_without_an_upload() {
    let key = "videos/game_3/clip.mkv";
    let machine = with_row_of_app("/nowhere/clip.mkv", Some(key));
    let submit = ["--json", "submit", "--video-id", "1", "--prompt", "ball"];
    machine.run(&submit).expect(1, &["video 1 has no file", key]);
    wide().video(&machine.sandbox, 14, "made.mkv");
    std::fs::create_dir_all(machine.object("videos/game_3")).unwrap();
    std::fs::rename(machine.sandbox.path("made.mkv"), machine.object(key)).unwrap();
    let submitted = machine.run(&submit).expect(0, &[]).json();
    assert_eq!(submitted["n_frames"], 14);
    let job = submitted["job_id"].as_str().unwrap();
    assert_eq!(manifest(&machine, job)["parameters"]["video_key"], key);
    machine.run_worker_once().expect(0, &[]);
    machine.run(&["import", "--job-id", job, "--delete-video"]).expect(0, &[]);
    assert_eq!(machine.detections(), detections_without_faults(14));
    let export = ["export", "1", "--format", "video", "--out", "out.mp4"];
    machine.run(&export).expect(0, &[]);
    assert!(machine.sandbox.path("out.mp4").exists());
    std::fs::remove_file(machine.sandbox.path("out.mp4")).unwrap();
    // It is not this program's to delete.
    machine.run(&["rm", job]).expect(0, &[]);
    assert!(machine.object(key).exists());
}

#[test]
fn a_video_whose_copy_was_overwritten_is_uploaded_again() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let copy = machine.object(&format!("videos/{job}.mkv"));
    let mut bytes = std::fs::read(&copy).unwrap();
    bytes[100_000] ^= 1;
    // The copy may be a link to the file.
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, bytes).unwrap();
    machine.run_worker_once();
    let again = ["--json", "submit", "game.mkv", "--prompt", "ball", "--again"];
    let second = machine.run(&again).expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned();
    machine.run(&["rm", "--force", &job]).expect(0, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&second);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn a_video_that_is_nowhere_leaves_no_upload_to_resume() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    std::fs::remove_file(machine.sandbox.path("game.mkv")).unwrap();
    std::fs::remove_file(machine.object(&format!("videos/{job}.mkv"))).unwrap();
    machine.run(&["submit", "--video-id", "1", "--again"]).expect(1, &["video 1 has no file"]);
    let jobs = machine.run(&["--json", "status"]).expect(0, &[]).json()["jobs"].clone();
    assert!(jobs.as_array().unwrap().iter().all(|job| job["state"] != "uploading"), "{jobs}");
    assert!(!machine.run(&["status"]).expect(0, &[]).stdout.contains("--resume"));
}

#[test]
fn an_annotated_video_is_not_made_of_another_copy() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    std::fs::remove_file(machine.sandbox.path("game.mkv")).unwrap();
    let copy = machine.object(&format!("videos/{job}.mkv"));
    let mut bytes = std::fs::read(&copy).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&copy).unwrap();
    std::fs::write(&copy, bytes).unwrap();
    let export = ["export", "1", "--format", "video", "--out", "out.mp4"];
    machine.run(&export).expect(1, &["has other content than the file that was added", "videos add"]);
    assert!(!machine.sandbox.path("out.mp4").exists());
}

#[test]
fn an_annotated_video_is_made_of_the_copy_on_a_server_if_the_file_is_gone() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    let export = ["export", "1", "--format", "video", "--out"];
    machine.run(&[&export[..], &["of-file.mp4"]].concat()).expect(0, &[]);
    std::fs::remove_file(machine.sandbox.path("game.mkv")).unwrap();
    machine.run(&[&export[..], &["of-copy.mp4"]].concat()).expect(0, &[]);
    assert_eq!(machine.sandbox.read("of-copy.mp4"), machine.sandbox.read("of-file.mp4"));
    assert!(!machine.sandbox.path("videos/.courtside/videos/1.mkv").exists());
}

#[test]
fn a_worker_without_ffmpeg_says_so_before_it_claims_a_job() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let run = |job: &str| {
        let mut worker = machine.worker(&["--once"]);
        worker.env("COURTSIDE_FFMPEG", "/nowhere/ffmpeg");
        crate::sandbox::RunOutput::new(worker.output().unwrap()).expect(3, &["/nowhere/ffmpeg"]);
        job.to_owned()
    };
    assert_eq!(machine.status(&run(&job))["attempt"], 0);
    machine.run(&["rm", "--force", &job]).expect(0, &[]);
    run("an empty queue");
}

#[test]
fn an_idle_worker_does_not_exit_while_a_lease_is_about_to_expire() {
    let machine = Machine::with_folder();
    let job = machine.submit(120, &[]);
    let mut first = machine.start_worker(&["--worker-id", "first"]);
    first.wait_for("the claim", || (machine.status(&job)["worker_id"] == "first").then_some(()));
    first.kill();
    let output = machine.worker(&["--idle-exit", "1"]).output().unwrap();
    let second =
        crate::sandbox::RunOutput::new(output).expect(0, &[&format!("job {job} (first): silent since")]);
    assert_eq!(second.json()["completed"][0], job.as_str(), "{second:?}");
}

#[test]
fn a_worker_that_is_stopped_does_not_say_that_it_processed_a_job() {
    let machine = Machine::with_folder();
    let job = machine.submit(120, &[]);
    let mut worker = machine.start_worker(&["--once", "--worker-id", "rig"]);
    worker.wait_for("the claim", || (machine.status(&job)["worker_id"] == "rig").then_some(()));
    worker.signal("INT");
    let stopped = worker.wait().expect(130, &["a stop was requested"]);
    assert!(!stopped.stderr.contains("one job was processed"), "{stopped:?}");
    assert_eq!(stopped.json()["released"][0], job.as_str());
}

#[test]
fn a_held_upload_part_is_no_reason_to_upload_the_video_twice() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["submit", "game.mkv"]).expect(0, &[]);
    // Any further upload would fail.
    server.fail_next(Op::UploadPart, "videos/", Fault::ServerError);
    machine.run(&["submit", "game.mkv", "--sample-interval", "5"]).expect(0, &["has the video already"]);
}
