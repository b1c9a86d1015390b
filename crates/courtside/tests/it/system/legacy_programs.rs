//! Compatibility with programs that know only the required fields: Courtside tracks their jobs and imports their
//! results, and they can read the files that Courtside writes.

use serde_json::{Value, json};

use super::{Machine, detections_without_faults};
use crate::fixture::wide;

pub(super) fn manifest(machine: &Machine, job: &str) -> Value {
    serde_json::from_slice(&std::fs::read(machine.object(&format!("jobs/{job}.json"))).unwrap()).unwrap()
}

/// Writes an object as such a program does.
pub(super) fn put(machine: &Machine, key: &str, value: &Value) {
    let path = machine.object(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

pub(super) fn legacy_manifest(job: &str, status: &str) -> Value {
    json!({
        "job_id": job, "video_id": 1, "status": status, "created_at": "2025-03-04T05:06:07.089123",
        "parameters": {"sample_interval": 1, "confidence_threshold": 0.25, "prompt": "ball", "court": {"id": 4}},
        "started_at": null, "completed_at": null, "error": null, "frames_processed": null, "season": "24/25",
    })
}

/// A machine with the clip in its library and no jobs.
pub(super) fn machine_with_video() -> Machine {
    let machine = Machine::with_folder();
    wide().video(&machine.sandbox, 14, "game.mkv");
    machine.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    machine
}

#[test]
fn legacy_jobs_are_tracked_and_unknown_fields_are_kept() {
    let machine = machine_with_video();
    std::fs::create_dir_all(machine.object("videos")).unwrap();
    std::fs::copy(machine.sandbox.path("game.mkv"), machine.object("videos/old-1.mp4")).unwrap();
    put(&machine, "jobs/old-1.json", &legacy_manifest("old-1", "pending"));
    put(&machine, "jobs/broken.json", &json!({"job_id": "broken", "status": 7}));
    machine.run_worker_once().expect(0, &[]);
    let after = manifest(&machine, "old-1");
    assert_eq!((after["status"].as_str(), after["season"].as_str()), (Some("completed"), Some("24/25")));
    assert_eq!(after["parameters"]["court"]["id"], 4);
    assert_eq!(after["frames_processed"], 14);
    assert_eq!(after["created_at"], "2025-03-04T05:06:07.089123");

    // A legacy reader finds the fields that it expects.
    let results: Value =
        serde_json::from_slice(&std::fs::read(machine.object("results/old-1.json")).unwrap()).unwrap();
    assert_eq!((results["job_id"].as_str(), results["video_id"].as_i64()), (Some("old-1"), Some(1)));
    let first = results["detections"][0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["bbox", "confidence", "frame", "track_id"]);
    let status: Value = serde_json::from_slice(
        &std::fs::read(machine.object("status/old-1.json")).unwrap_or(b"null".to_vec()),
    )
    .unwrap();
    assert!(status.is_null() || status["total"] == 14, "{status}");

    let listed = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("skipped jobs/broken.json"), "{listed}");
    machine.import("old-1");
    assert_eq!(machine.detections(), detections_without_faults(14));
    assert!(machine.object("jobs/broken.json").exists());
}

#[test]
fn progress_of_legacy_workers_is_shown() {
    let machine = machine_with_video();
    let mut old = legacy_manifest("old-3", "processing");
    old["worker_id"] = json!("python");
    put(&machine, "jobs/old-3.json", &old);
    assert_eq!(machine.status("old-3")["current"], 0);
    let updated_at = "2025-03-04T05:30:00Z";
    let status = json!({"job_id": "old-3", "current": 7, "total": 14, "message": "tracking", "updated_at": updated_at});
    put(&machine, "status/old-3.json", &status);
    let listed = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("7/14 frames"), "{listed}");
}

#[test]
fn unusual_manifests_do_not_break_listings() {
    let machine = machine_with_video();
    let mut odd = legacy_manifest("odd", "processing");
    odd["claim"] = json!({"id": "c", "worker_id": "w", "claimed_at": "2025-03-04T05:30:00Z"});
    odd["heartbeat"] = json!({"seq": 1, "stage": "tracking", "current": 1, "total": 1000, "fps": 1e-300});
    odd["completed_at"] = json!("9999-12-31T23:59:59-23:00");
    put(&machine, "jobs/odd.json", &odd);
    let mut loud = legacy_manifest("loud", "failed");
    loud["error"] = json!("\u{1b}[2Jgone\nJOB_ID");
    put(&machine, "jobs/loud.json", &loud);
    let listed = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("1/1000 frames") && !listed.contains('\u{1b}'), "{listed:?}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    put(&machine, "jobs/broken.json", &json!({"job_id": "broken"}));
    std::fs::create_dir_all(machine.object("jobs/old #1")).unwrap();
    machine.run(&["import", "--all"]).expect(0, &["skipped jobs/broken.json"]);
}

#[test]
fn results_of_legacy_workers_are_imported() {
    let machine = machine_with_video();
    let mut old = legacy_manifest("old-2", "completed");
    old["completed_at"] = json!("2025-03-04T06:00:00Z");
    old["frames_processed"] = json!(14);
    put(&machine, "jobs/old-2.json", &old);
    let detections = json!([
        {"frame": 0, "track_id": 3, "bbox": [1.5, 2.0, 30.25, 40], "confidence": 0.91},
        {"frame": 13, "track_id": 3, "bbox": [2, 2, 30, 40], "confidence": 1.0000001},
    ]);
    put(
        &machine,
        "results/old-2.json",
        &json!({
            "job_id": "old-2", "video_id": 1, "completed_at": "2025-03-04T06:00:00Z", "frames_processed": 14,
            "detections": detections,
        }),
    );
    let warning = "1 confidences are slightly below 0 or above 1";
    let imported = machine.run(&["--json", "import", "--all"]).expect(0, &[warning]).json();
    assert!(imported["imported"][0]["warnings"][0].as_str().unwrap().contains(warning), "{imported}");
    let rows = machine.detections();
    assert_eq!(rows.len(), 2);
    assert_eq!(f64::from_bits(rows[1].3), 1.0);
    assert_eq!(f64::from_bits(rows[0].2[2]), 30.25);
    let after = manifest(&machine, "old-2");
    assert_eq!((after["status"].as_str(), after["season"].as_str()), (Some("imported"), Some("24/25")));
}

#[test]
fn invalid_results_are_rejected_and_kept() {
    let machine = machine_with_video();
    put(&machine, "jobs/bad.json", &legacy_manifest("bad", "completed"));
    put(&machine, "results/bad.json", &json!(null));
    let good = r#"{"job_id":"bad","video_id":1,"detections":[{"frame":0,"track_id":1,"bbox":[1,1,2,2],"confidence":0.5}]}"#;
    let one = r#"{"frame":0,"track_id":1,"bbox":[1,1,2,2],"confidence":0.5}"#;
    let other = one.replace(":0,", ":1,");
    for (change, want) in [
        (("}]}", format!("}},{one}]}}").as_str()), "track 1 is twice on frame 0"),
        (("}]}", format!("}},{other},{one}]}}").as_str()), "track 1 is twice on frame 0"),
        (("[1,1,2,2]", "[1,1,1e308,2]"), "larger than any video"),
        (("[1,1,2,2]", "[90000,1,2,2]"), "far outside the frame"),
        (("0.5", "1.01"), "confidence 1.01"),
        ((r#""bad""#, r#""other""#), "other"),
        ((r#""frame":0"#, r#""frame":14"#), "14"),
        (("[1,1,2,2]", "[1,1,-2,2]"), "-2"),
        (("0.5", "NaN"), "detections[0]"),
        (("}]}", "}"), "truncated"),
    ] {
        let bytes = good.replace(change.0, change.1);
        std::fs::write(machine.object("results/bad.json"), &bytes).unwrap();
        machine.run(&["import", "--job-id", "bad"]).expect(1, &["bad is not imported", want]);
        assert_eq!(machine.detections(), []);
        assert_eq!(std::fs::read_to_string(machine.object("results/bad.json")).unwrap(), bytes);
        assert_eq!(manifest(&machine, "bad")["status"], "completed");
    }
    std::fs::write(machine.object("results/bad.json"), good).unwrap();
    machine.import("bad");
    assert_eq!(machine.detections().len(), 1);
}

#[test]
fn jobs_that_exist_only_in_the_library_are_not_removed() {
    let machine = machine_with_video();
    let database = rusqlite::Connection::open(machine.sandbox.path("basketball_analyzer.db")).unwrap();
    let insert = "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current,
            progress_total, progress_message, created_at, completed_at)
        VALUES ('theirs', 'TRACK_REPROCESS', 'COMPLETED', 1, '{}', 0, 0, '', '2024-05-01 18:00:00.000000',
            '2024-05-01 18:30:00.000000')";
    database.execute(insert, []).unwrap();
    for command in [&["rm", "theirs"][..], &["rm", "--force", "theirs"]] {
        machine.run(command).expect(1, &["there is no job theirs"]);
    }
    let row = "SELECT status || ' ' || completed_at FROM processing_jobs WHERE id = 'theirs'";
    let row: String = database.query_row(row, [], |row| row.get(0)).unwrap();
    assert_eq!(row, "COMPLETED 2024-05-01 18:30:00.000000");
}
