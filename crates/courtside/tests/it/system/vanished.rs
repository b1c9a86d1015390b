//! Jobs of this library whose manifest another program removed, as older importers do.

use super::Machine;

/// What an older importer does with the job that it imported.
fn import_as_older_program(machine: &Machine, job: &str, with_video: bool) {
    for key in ["jobs", "results", "status"] {
        let _ = std::fs::remove_file(machine.object(&format!("{key}/{job}.json")));
    }
    if with_video {
        std::fs::remove_file(machine.object(&format!("videos/{job}.mkv"))).unwrap();
    }
}

/// A job that the library knows as completed, or as pending, and whose manifest is gone.
fn vanished(is_completed: bool, with_video: bool) -> (Machine, String) {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    if is_completed {
        machine.run_worker_once().expect(0, &[]);
        assert_eq!(machine.status(&job)["state"], "ready_to_import");
    }
    import_as_older_program(&machine, &job, with_video);
    (machine, job)
}

#[test]
fn a_completed_job_without_a_manifest_is_shown_as_imported_elsewhere() {
    let (machine, job) = vanished(true, false);
    for listed in [machine.run(&["status", &job]), machine.run(&["status"])] {
        let text = listed.expect(0, &[]).stdout;
        assert!(text.contains("imported elsewhere"), "{text}");
        assert!(text.contains(&format!("courtside retry {job}")), "{text}");
    }
    let shown = machine.status(&job);
    assert_eq!(
        (shown["status"].as_str(), shown["state"].as_str()),
        (Some("completed"), Some("imported_elsewhere"))
    );
    machine.run(&["import", "--job-id", &job]).expect(1, &["imported elsewhere", "courtside retry"]);
    machine.run(&["import", "--all"]).expect(0, &[]);
    machine.run(&["cancel", &job]).expect(1, &["completed jobs cannot be cancelled"]);
    assert_eq!(machine.detections(), []);
}

#[test]
fn a_pending_job_without_a_manifest_is_shown_as_removed_from_the_bucket() {
    let (machine, job) = vanished(false, false);
    let shown = machine.status(&job);
    assert_eq!(
        (shown["status"].as_str(), shown["state"].as_str()),
        (Some("failed"), Some("removed_from_bucket"))
    );
    assert_eq!(shown["video"], "game.mkv");
    let (machine, job) = vanished(false, false);
    machine.run(&["import", "--job-id", &job]).expect(1, &["removed from the bucket", "courtside retry"]);
    let cancelled = machine.run(&["--json", "cancel", &job]).expect(0, &[]).json();
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(machine.status(&job)["status"], "cancelled");
}

#[test]
fn a_job_without_a_manifest_is_removed_from_the_library() {
    for is_completed in [true, false] {
        let (machine, job) = vanished(is_completed, false);
        std::fs::create_dir_all(machine.object(&format!("logs/{job}"))).unwrap();
        machine.run(&["rm", &job]).expect(0, &[]);
        machine.run(&["status", &job]).expect(1, &["there is no job"]);
        assert!(!machine.object(&format!("logs/{job}/0001.log")).exists());
        machine.run(&["rm", &job]).expect(1, &["there is no job"]);
    }
}

#[test]
fn a_job_without_a_manifest_is_submitted_again_with_its_video() {
    for (is_completed, with_video) in [(true, false), (true, true), (false, true)] {
        let (machine, job) = vanished(is_completed, with_video);
        let retried = machine.run(&["--json", "retry", &job]).expect(0, &[]).json();
        assert_eq!(retried["status"], "pending");
        machine.run_worker_once().expect(0, &[]);
        machine.import(&job);
        assert_eq!(machine.detections(), super::detections_without_faults(14));
    }
}

#[test]
fn a_video_whose_jobs_have_no_manifest_can_be_removed() {
    let (machine, _) = vanished(false, false);
    machine.run(&["videos", "rm", "1"]).expect(0, &[]);
    machine.run(&["videos", "show", "1"]).expect(1, &["no video 1"]);
}

#[test]
fn a_removed_job_is_not_listed_as_imported_elsewhere() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.status(&job);
    machine.run(&["rm", "--force", &job]).expect(0, &[]);
    assert!(!machine.run(&["status"]).expect(0, &[]).stdout.contains(&job));
    machine.run(&["status", &job]).expect(1, &["was removed", "courtside submit --video-id 1 --again"]);
}

#[test]
fn a_job_whose_bucket_is_found_again_is_open_again() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let (here, away) = (machine.sandbox.path("basketball-analyzer"), machine.sandbox.path("away"));
    std::fs::rename(&here, &away).unwrap();
    assert_eq!(machine.status(&job)["state"], "removed_from_bucket");
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(machine.status(&job)["state"], "waiting");
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
}
