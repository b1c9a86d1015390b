//! Results that cannot be imported, and jobs that the user cancelled: each has a next step that works.

use serde_json::json;

use super::legacy_programs::{legacy_manifest, machine_with_video, manifest, put};
use super::{Machine, detections_without_faults};

/// A completed job.
fn completed() -> (Machine, String) {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    (machine, job)
}

/// Changes the bytes of the results, with or without their number.
fn corrupt(machine: &Machine, job: &str, keep_size: bool) {
    let path = machine.object(&format!("results/{job}.json"));
    let mut bytes = std::fs::read(&path).unwrap();
    match keep_size {
        true => bytes[20] ^= 1,
        false => bytes.truncate(100),
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn corrupt_results_are_shown_and_tracked_again() {
    for keep_size in [true, false] {
        let (machine, job) = completed();
        corrupt(&machine, &job, keep_size);
        let retry = format!("courtside retry {job}");
        machine.run(&["import", "--all"]).expect(1, &[&retry]);
        let shown = machine.status(&job);
        assert_eq!((&shown["status"], &shown["state"]), (&json!("failed"), &json!("results_corrupt")));
        let text = machine.run(&["status"]).expect(0, &[]).stdout;
        assert!(text.contains("results corrupt: ") && text.contains(&retry), "{text}");
        assert_eq!(machine.run(&["--json", "retry", &job]).expect(0, &[]).json()["status"], "pending");
        assert_eq!(machine.status(&job)["state"], "waiting");
        machine.run_worker_once().expect(0, &[]);
        machine.import(&job);
        assert_eq!(machine.detections(), detections_without_faults(14));
    }
}

/// The library has no row of such a job before.
#[test]
fn corrupt_results_of_a_job_that_an_older_program_submitted_are_shown_too() {
    let machine = machine_with_video();
    let job = "5f0c1f6e-2a53-4d4c-8f43-3b8f2d1c9a10";
    let mut theirs = legacy_manifest(job, "completed");
    theirs["completed_at"] = json!("2025-03-04T06:00:00Z");
    std::fs::create_dir_all(machine.object("videos")).unwrap();
    let video = machine.object(&format!("videos/{job}.mp4"));
    std::fs::copy(machine.sandbox.path("game.mkv"), video).unwrap();
    put(&machine, &format!("jobs/{job}.json"), &theirs);
    put(
        &machine,
        &format!("results/{job}.json"),
        &json!({"job_id": job, "video_id": 1, "detections": "none"}),
    );
    let retry = format!("courtside retry {job}");
    machine.run(&["import", "--all"]).expect(1, &[&retry]);
    let shown = machine.status(job);
    assert_eq!((&shown["status"], &shown["state"]), (&json!("failed"), &json!("results_corrupt")));
    assert!(machine.run(&["status"]).expect(0, &[]).stdout.contains(&retry));
}

#[test]
fn a_removed_job_whose_manifest_could_not_be_read_is_not_listed() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    std::fs::write(machine.object(&format!("jobs/{job}.json")), "{").unwrap();
    machine.run(&["rm", &job]).expect(1, &["cannot be read", &format!("courtside rm --force {job}")]);
    machine.run(&["rm", "--force", &job]).expect(0, &[]);
    assert!(!machine.object(&format!("videos/{job}.mkv")).exists());
    assert!(!machine.run(&["status"]).expect(0, &[]).stdout.contains(&job));
    machine.run(&["status", &job]).expect(1, &["was removed"]);
}

#[test]
fn results_replaced_under_a_completed_manifest_can_be_retried_at_once() {
    let (machine, job) = completed();
    corrupt(&machine, &job, false);
    machine.run(&["retry", &job]).expect(0, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn results_that_are_missing_can_be_retried() {
    let (machine, job) = completed();
    std::fs::remove_file(machine.object(&format!("results/{job}.json"))).unwrap();
    machine.run(&["import", "--job-id", &job]).expect(1, &["courtside retry"]);
    machine.run(&["retry", &job]).expect(0, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
}

#[test]
fn a_completed_job_with_good_results_is_not_tracked_again() {
    let (machine, job) = completed();
    let import = format!("courtside import --job-id {job}");
    machine.run(&["retry", &job]).expect(1, &["completed jobs cannot be retried", &import]);
    machine.import(&job);
    machine.run(&["retry", &job]).expect(1, &["imported jobs cannot be retried"]);
}

#[test]
fn a_cancelled_job_that_an_older_worker_completed_is_imported_only_on_request() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run(&["cancel", &job]).expect(0, &[]);
    // The next write of an older worker.
    let mut theirs = legacy_manifest(&job, "processing");
    theirs["worker_id"] = json!("python");
    put(&machine, &format!("jobs/{job}.json"), &theirs);
    assert_eq!(machine.status(&job)["status"], "cancelled");
    assert_eq!(machine.status(&job)["state"], "cancel_overridden");
    theirs["status"] = json!("completed");
    theirs["completed_at"] = json!("2025-03-04T06:00:00Z");
    put(&machine, &format!("jobs/{job}.json"), &theirs);
    let one = json!({"frame": 0, "track_id": 3, "bbox": [1.5, 2.0, 30.25, 40], "confidence": 0.91});
    let results = json!({"job_id": job, "video_id": 1, "detections": [one]});
    put(&machine, &format!("results/{job}.json"), &results);
    let command = format!("courtside import --job-id {job} --force");
    let all = machine.run(&["import", "--all"]).expect(0, &[]).stdout;
    assert!(all.contains("was cancelled") && all.contains(&command), "{all}");
    assert!(machine.run(&["status"]).expect(0, &[]).stdout.contains(&command));
    machine.run(&["import", "--job-id", &job]).expect(1, &["was cancelled", &command]);
    assert_eq!(machine.detections(), []);
    let forced = machine.run(&["import", "--job-id", &job, "--force"]);
    forced.expect(0, &["the results name no prompt", "ball"]);
    assert_eq!(machine.detections().len(), 1);
}

#[test]
fn a_job_that_was_cancelled_and_retried_on_another_machine_is_not_cancelled() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run(&["cancel", &job]).expect(0, &[]);
    let kept = machine.sandbox.read("basketball_analyzer.db");
    machine.run(&["retry", &job]).expect(0, &[]);
    machine.run_worker_once().expect(0, &[]);
    // The library of the machine that cancelled it.
    for file in ["basketball_analyzer.db-wal", "basketball_analyzer.db-shm"] {
        let _ = std::fs::remove_file(machine.sandbox.path(file));
    }
    machine.sandbox.write("basketball_analyzer.db", kept);
    assert_eq!(machine.status(&job)["state"], "ready_to_import");
    machine.import(&job);
}

#[test]
fn the_history_names_who_did_what() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run(&["cancel", &job]).expect(0, &[]);
    machine.run(&["retry", &job]).expect(0, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    let events = manifest(&machine, &job)["events"].as_array().unwrap().clone();
    let by =
        |what: &str| events.iter().find(|event| event["what"].as_str().unwrap().starts_with(what)).unwrap();
    for what in ["cancelled by the user", "retried by the user", "imported by the user"] {
        assert!(by(what)["worker_id"].is_null(), "{events:?}");
    }
    for what in ["claimed", "completed"] {
        assert!(by(what)["worker_id"].is_string(), "{events:?}");
    }
}
