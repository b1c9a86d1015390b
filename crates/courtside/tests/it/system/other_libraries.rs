//! Libraries that share a bucket, and a library that was lost: jobs belong to videos by content, not by number.

use s3_fixture::FakeR2;
use serde_json::{Value, json};

use super::legacy_programs::{legacy_manifest, manifest, put};
use super::{Machine, detections_without_faults};
use crate::fixture::wide;

/// Results of one detection, as an older worker writes them.
fn put_results(machine: &Machine, job: &str) {
    let one = json!({"frame": 0, "track_id": 3, "bbox": [1.5, 2.0, 30.25, 40], "confidence": 0.91});
    put(machine, &format!("results/{job}.json"), &json!({"job_id": job, "video_id": 1, "detections": [one]}));
}

/// A completed job of an older program: its video is number 1 there, and the object has these bytes.
fn put_legacy_job(machine: &Machine, job: &str, video: &[u8]) {
    std::fs::create_dir_all(machine.object("videos")).unwrap();
    std::fs::write(machine.object(&format!("videos/{job}.mp4")), video).unwrap();
    put(machine, &format!("jobs/{job}.json"), &legacy_manifest(job, "completed"));
    put_results(machine, job);
}

fn imports(machine: &Machine, args: &[&str]) -> Value {
    machine.run(&[&["--json", "import"], args].concat()).expect(0, &[]).json()
}

/// Runs the command that the first offer names.
fn take_offer(machine: &Machine, imported: &Value) {
    let command = imported["offers"][0]["command"].as_str().unwrap_or_else(|| panic!("{imported}"));
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    machine.run(&words).expect(0, &[]);
}

#[test]
fn a_job_of_another_library_with_the_same_number_is_not_imported_into_our_video() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    put_legacy_job(&machine, "theirs", b"another game");
    let shown = machine.status("theirs");
    assert_eq!((&shown["video_id"], &shown["other_library"]["video_id"]), (&Value::Null, &json!(1)));
    let all = imports(&machine, &["--all"]);
    assert_eq!(all["imported"], json!([]));
    assert!(all["offers"][0]["reason"].as_str().unwrap().contains("not in this library"), "{all}");
    machine.run(&["import", "--job-id", "theirs"]).expect(1, &["videos/theirs.mp4", "not in this library"]);
    machine.run(&["import", "--job-id", "theirs", "--into-video", "1"]).expect(1, &["other content"]);
    assert_eq!(machine.detections(), []);
}

#[test]
fn results_are_imported_into_the_video_with_the_content_of_the_job() {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 9, "other.mkv");
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["videos", "add", "other.mkv", "game.mkv"]).expect(0, &[]);
    put_legacy_job(&machine, "old", &machine.sandbox.read("game.mkv"));
    let all = imports(&machine, &["--all"]);
    assert_eq!(all["imported"][0]["video_id"], 2, "{all}");
}

#[test]
fn a_job_that_another_program_imported_is_imported_once_and_only_on_request() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    let mut theirs = manifest(&machine, &job);
    theirs["status"] = json!("imported");
    put(&machine, &format!("jobs/{job}.json"), &theirs);
    machine.run(&["import", "--job-id", &job]).expect(1, &["imported by another program", "--force"]);
    assert_eq!(machine.detections(), []);
    for _ in 0..3 {
        imports(&machine, &["--job-id", &job, "--force"]);
        assert_eq!(machine.detections(), detections_without_faults(14));
    }
}

#[test]
fn jobs_of_other_libraries_are_shown_as_such() {
    let server = FakeR2::start();
    let (ours, theirs) =
        (Machine::with_server(server.connection()), Machine::with_server(server.connection()));
    wide().video(&ours.sandbox, 9, "ours.mkv");
    ours.run(&["videos", "add", "ours.mkv"]).expect(0, &[]);
    let job = theirs.submit(14, &[]);
    let here = ours.status(&job);
    assert_eq!((&here["video_id"], &here["video"]), (&Value::Null, &json!("game.mkv")));
    assert_eq!(here["other_library"]["video_id"], 1);
    assert!(here["other_library"]["id"].is_string() && here["video_sha256"].is_string(), "{here}");
    let text = ours.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.contains("    - pending") && text.contains("game.mkv of "), "{text}");
    ours.run(&["rm", &job]).expect(1, &["is not finished"]);
    ours.run(&["cancel", &job]).expect(0, &[]);
    ours.run(&["rm", &job]).expect(1, &["another library", "--force"]);
    let there = theirs.status(&job);
    assert_eq!((&there["video_id"], &there["other_library"]), (&json!(1), &Value::Null));
    assert_eq!(there["video_sha256"], here["video_sha256"]);
}

#[test]
fn another_library_with_the_same_video_is_offered_the_results() {
    let server = FakeR2::start();
    let (first, second) =
        (Machine::with_server(server.connection()), Machine::with_server(server.connection()));
    let job = first.submit(14, &[]);
    first.run_worker_once().expect(0, &[]);
    std::fs::copy(first.sandbox.path("game.mkv"), second.sandbox.path("copy.mkv")).unwrap();
    second.run(&["videos", "add", "copy.mkv"]).expect(0, &[]);
    // The first library imports its own job even if the second was faster.
    take_offer(&second, &imports(&second, &["--all"]));
    assert_eq!(second.detections(), detections_without_faults(14));
    assert_eq!(imports(&second, &["--all"])["offers"], json!([]));
    let own = imports(&first, &["--all"]);
    assert_eq!(own["imported"][0]["job_id"], job.as_str());
    // And once it is imported, a third one still gets it.
    let third = Machine::with_server(server.connection());
    std::fs::copy(first.sandbox.path("game.mkv"), third.sandbox.path("copy.mkv")).unwrap();
    third.run(&["videos", "add", "copy.mkv"]).expect(0, &[]);
    take_offer(&third, &imports(&third, &["--all"]));
    assert_eq!(third.detections(), detections_without_faults(14));
}

#[test]
fn a_removed_video_is_restored_from_the_bucket() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    let rows = machine.detections();
    let n = rows.len().to_string();
    machine.run(&["videos", "rm", "1"]).expect(1, &[&n, "detections", "--yes"]);
    assert_eq!(machine.detections(), rows);
    machine.run(&["videos", "rm", "1", "--yes"]).expect(0, &[]);
    assert_eq!(machine.detections(), []);
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    let all = imports(&machine, &["--all"]);
    assert_eq!(all["imported"], json!([]));
    take_offer(&machine, &all);
    assert_eq!(machine.detections(), rows);
    // Also long after the import.
    machine.run(&["videos", "rm", "1", "--yes"]).expect(0, &[]);
    std::fs::create_dir_all(machine.object("archive/jobs")).unwrap();
    let name = format!("jobs/{job}.json");
    std::fs::rename(machine.object(&name), machine.object(&format!("archive/{name}"))).unwrap();
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    assert_eq!(machine.status(&job)["status"], "imported");
    take_offer(&machine, &imports(&machine, &["--all"]));
    assert_eq!(machine.detections(), rows);
    machine.run(&["cancel", &job]).expect(1, &["imported jobs cannot be cancelled"]);
    machine.run(&["rm", &job]).expect(0, &[]);
    assert!(!machine.object(&format!("archive/{name}")).exists());
}

#[test]
fn a_video_that_moved_keeps_its_row_and_its_detections() {
    for is_submitted in [false, true] {
        let machine = Machine::with_folder();
        wide().video(&machine.sandbox, 14, "game.mkv");
        machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
        if is_submitted {
            machine.run(&["submit", "--video-id", "1"]).expect(0, &[]);
        }
        std::fs::create_dir(machine.sandbox.path("archive")).unwrap();
        std::fs::rename(machine.sandbox.path("game.mkv"), machine.sandbox.path("archive/g.mkv")).unwrap();
        let added =
            machine.run(&["--json", "videos", "add", "archive/g.mkv"]).expect(0, &["was moved"]).json();
        assert_eq!(added["videos"][0]["id"], 1);
        assert!(added["videos"][0]["file_path"].as_str().unwrap().ends_with("archive/g.mkv"));
        machine.run(&["submit", "--video-id", "1", "--again"]).expect(0, &[]);
        // A copy of a video whose file is still there is another video.
        std::fs::copy(machine.sandbox.path("archive/g.mkv"), machine.sandbox.path("copy.mkv")).unwrap();
        let copied = machine.run(&["--json", "videos", "add", "copy.mkv"]).expect(0, &[]).json();
        assert_eq!(copied["videos"][0]["id"], 2);
    }
}
