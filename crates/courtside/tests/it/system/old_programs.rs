//! Programs that know only the plain shapes: their jobs are tracked, their results imported, and ours read.

use serde_json::{Value, json};

use super::{Site, undisturbed};
use crate::fixture::wide;

fn register(site: &Site, job: &str) -> Value {
    serde_json::from_slice(&std::fs::read(site.object(&format!("jobs/{job}.json"))).unwrap()).unwrap()
}

/// What such a program writes, unconditionally.
fn put(site: &Site, key: &str, value: &Value) {
    let path = site.object(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

fn old_register(job: &str, status: &str) -> Value {
    json!({
        "job_id": job, "video_id": 1, "status": status, "created_at": "2025-03-04T05:06:07.089123",
        "parameters": {"sample_interval": 1, "confidence_threshold": 0.25, "prompt": "ball", "court": {"id": 4}},
        "started_at": null, "completed_at": null, "error": null, "frames_processed": null, "season": "24/25",
    })
}

/// A library with the clip in it, and nothing submitted.
fn site() -> Site {
    let site = Site::with_folder();
    wide().video(&site.place, 14, "game.mkv");
    site.run(&["videos", "add", "game.mkv"]).expect(0, &[]);
    site
}

#[test]
fn their_job_is_tracked_and_their_fields_stay() {
    let site = site();
    std::fs::create_dir_all(site.object("videos")).unwrap();
    std::fs::copy(site.place.path("game.mkv"), site.object("videos/old-1.mp4")).unwrap();
    put(&site, "jobs/old-1.json", &old_register("old-1", "pending"));
    put(&site, "jobs/broken.json", &json!({"job_id": "broken", "status": 7}));
    site.work().expect(0, &[]);
    let after = register(&site, "old-1");
    assert_eq!((after["status"].as_str(), after["season"].as_str()), (Some("completed"), Some("24/25")));
    assert_eq!(after["parameters"]["court"]["id"], 4);
    assert_eq!(after["frames_processed"], 14);
    assert_eq!(after["created_at"], "2025-03-04T05:06:07.089123");

    // What a reader of the plain shape finds.
    let results: Value =
        serde_json::from_slice(&std::fs::read(site.object("results/old-1.json")).unwrap()).unwrap();
    assert_eq!((results["job_id"].as_str(), results["video_id"].as_i64()), (Some("old-1"), Some(1)));
    let first = results["detections"][0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["bbox", "confidence", "frame", "track_id"]);
    let status: Value =
        serde_json::from_slice(&std::fs::read(site.object("status/old-1.json")).unwrap_or(b"null".to_vec()))
            .unwrap();
    assert!(status.is_null() || status["total"] == 14, "{status}");

    let listed = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("skipped jobs/broken.json"), "{listed}");
    site.import("old-1");
    assert_eq!(site.rows(), undisturbed(14));
    assert!(site.object("jobs/broken.json").exists());
}

#[test]
fn their_progress_is_shown() {
    let site = site();
    let mut old = old_register("old-3", "processing");
    old["worker_id"] = json!("python");
    put(&site, "jobs/old-3.json", &old);
    assert_eq!(site.status("old-3")["current"], 0);
    let updated_at = "2025-03-04T05:30:00Z";
    let status = json!({"job_id": "old-3", "current": 7, "total": 14, "message": "tracking", "updated_at": updated_at});
    put(&site, "status/old-3.json", &status);
    let listed = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("7/14 frames"), "{listed}");
}

#[test]
fn what_a_register_says_harms_no_listing() {
    let site = site();
    let mut odd = old_register("odd", "processing");
    odd["claim"] = json!({"id": "c", "worker_id": "w", "claimed_at": "2025-03-04T05:30:00Z"});
    odd["heartbeat"] = json!({"seq": 1, "stage": "tracking", "current": 1, "total": 1000, "fps": 1e-300});
    odd["completed_at"] = json!("9999-12-31T23:59:59-23:00");
    put(&site, "jobs/odd.json", &odd);
    let mut loud = old_register("loud", "failed");
    loud["error"] = json!("\u{1b}[2Jgone\nJOB_ID");
    put(&site, "jobs/loud.json", &loud);
    let listed = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(listed.contains("1/1000 frames") && !listed.contains('\u{1b}'), "{listed:?}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    put(&site, "jobs/broken.json", &json!({"job_id": "broken"}));
    std::fs::create_dir_all(site.object("jobs/old #1")).unwrap();
    site.run(&["import", "--all"]).expect(0, &["skipped jobs/broken.json"]);
}

#[test]
fn their_results_are_imported() {
    let site = site();
    let mut old = old_register("old-2", "completed");
    old["completed_at"] = json!("2025-03-04T06:00:00Z");
    old["frames_processed"] = json!(14);
    put(&site, "jobs/old-2.json", &old);
    let detections = json!([
        {"frame": 0, "track_id": 3, "bbox": [1.5, 2.0, 30.25, 40], "confidence": 0.91},
        {"frame": 13, "track_id": 3, "bbox": [2, 2, 30, 40], "confidence": 0.5},
    ]);
    put(
        &site,
        "results/old-2.json",
        &json!({
            "job_id": "old-2", "video_id": 1, "completed_at": "2025-03-04T06:00:00Z", "frames_processed": 14,
            "detections": detections,
        }),
    );
    site.run(&["import", "--all"]).expect(0, &[]);
    let rows = site.rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(f64::from_bits(rows[0].2[2]), 30.25);
    let after = register(&site, "old-2");
    assert_eq!((after["status"].as_str(), after["season"].as_str()), (Some("imported"), Some("24/25")));
}

#[test]
fn results_that_cannot_be_right_are_refused_and_kept() {
    let site = site();
    put(&site, "jobs/bad.json", &old_register("bad", "completed"));
    put(&site, "results/bad.json", &json!(null));
    let good = r#"{"job_id":"bad","video_id":1,"detections":[{"frame":0,"track_id":1,"bbox":[1,1,2,2],"confidence":0.5}]}"#;
    for (change, want) in [
        ((r#""bad""#, r#""other""#), "other"),
        ((r#""frame":0"#, r#""frame":14"#), "14"),
        (("[1,1,2,2]", "[1,1,-2,2]"), "-2"),
        (("0.5", "NaN"), "detections[0]"),
        (("}]}", "}"), "end"),
    ] {
        let bytes = good.replace(change.0, change.1);
        std::fs::write(site.object("results/bad.json"), &bytes).unwrap();
        site.run(&["import", "--job-id", "bad"]).expect(1, &["bad is not imported", want]);
        assert_eq!(site.rows(), []);
        assert_eq!(std::fs::read_to_string(site.object("results/bad.json")).unwrap(), bytes);
        assert_eq!(register(&site, "bad")["status"], "completed");
    }
    std::fs::write(site.object("results/bad.json"), good).unwrap();
    site.import("bad");
    assert_eq!(site.rows().len(), 1);
}

#[test]
fn jobs_of_the_library_alone_are_left_alone() {
    let site = site();
    let database = rusqlite::Connection::open(site.place.path("basketball_analyzer.db")).unwrap();
    let insert = "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current,
            progress_total, progress_message, created_at, completed_at)
        VALUES ('theirs', 'TRACK_REPROCESS', 'COMPLETED', 1, '{}', 0, 0, '', '2024-05-01 18:00:00.000000',
            '2024-05-01 18:30:00.000000')";
    database.execute(insert, []).unwrap();
    for command in [&["rm", "theirs"][..], &["rm", "--force", "theirs"]] {
        site.run(command).expect(1, &["there is no job theirs"]);
    }
    let row = "SELECT status || ' ' || completed_at FROM processing_jobs WHERE id = 'theirs'";
    let row: String = database.query_row(row, [], |row| row.get(0)).unwrap();
    assert_eq!(row, "COMPLETED 2024-05-01 18:30:00.000000");
}
