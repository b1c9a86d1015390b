//! Databases that the analyzer app created: used in place, extended, otherwise unchanged.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use store::{
    DetectionScope, ImportOutcome, JobFilter, JobStatus, JobType, NewJob, NewVideo, ProcessingStatus,
    StoreError,
};

use crate::app::{self, JOB, VIDEO};
use crate::support::{TestDb, import, rows, text, two_tracks};

fn app_view(db: &TestDb) -> Vec<Vec<Vec<Value>>> {
    let conn = db.plain();
    app::selects().iter().map(|sql| rows(&conn, sql)).collect()
}

#[test]
fn opening_only_adds() {
    let db = app::database("");
    let before = app_view(&db);
    let statements = |db: &TestDb| -> BTreeSet<String> {
        rows(&db.plain(), "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            .iter()
            .map(|row| text(&row[0]))
            .collect()
    };
    let own = statements(&db);
    drop(db.library());
    assert_eq!(app_view(&db), before);
    assert_eq!(rows(&db.plain(), "SELECT version_num FROM alembic_version").len(), 1);
    // The app's tables, indexes and columns are unchanged.
    let after = statements(&db);
    for statement in &own {
        assert!(after.contains(statement), "{statement}\nis not among\n{after:#?}");
    }
    let added: Vec<&String> = after.difference(&own).collect();
    let is_own = |sql: &str| sql.contains(" courtside_") || sql.contains(" sqlite_sequence");
    assert!(added.iter().all(|sql| is_own(sql)), "{added:#?}");
    assert!(!added.iter().any(|sql| sql.contains("REFERENCES")), "{added:#?}");
    // The app's tables get no new index.
    let indexes = rows(&db.plain(), "SELECT name FROM pragma_index_list('player_detections')");
    assert_eq!(indexes.len(), 2);
    // Opening it again adds nothing.
    let once = db.dump();
    drop(db.library());
    assert_eq!(db.dump(), once);
}

#[test]
fn reads_rows_of_the_app() {
    let db = app::database("");
    let library = db.library();
    let video = library.video(VIDEO).unwrap().unwrap();
    assert_eq!((video.processed, video.processing_status), (true, ProcessingStatus::Completed));
    assert_eq!(video.recorded_at.unwrap().unix_timestamp(), 1_714_591_800);
    assert_eq!((video.n_frames, video.file.size_bytes), (None, None));
    let job = library.job(JOB).unwrap().unwrap();
    assert_eq!(
        (job.status, job.job_type, job.imported),
        (JobStatus::Completed, JobType::VideoDetection, false)
    );
    assert_eq!(job.result.unwrap()["total_detections"], 2);
    let jobs = library.jobs(&JobFilter::default()).unwrap();
    assert_eq!((jobs.len(), jobs[0].job_type, &jobs[0].parameters), (2, JobType::TrackReprocess, &None));
    let stats = library.detection_stats(DetectionScope::Video(VIDEO)).unwrap();
    // No import reports the number of processed frames.
    assert_eq!((stats.total_detections, stats.total_frames_processed, stats.n_tracks), (2, 2, 1));
}

#[test]
fn the_app_can_use_the_database_after_an_import() {
    let db = app::database("");
    let mut library = db.library();
    let before = app_view(&db);
    import(&mut library, "ours", VIDEO, "a", &two_tracks(100)).unwrap();
    app::inserts(&db.plain());
    let after = app_view(&db);
    assert_eq!(after[2].len(), before[2].len() + 200 + 1);
    assert_eq!(&after[2][..2], &before[2][..], "the app's own detections");
    assert_eq!(after[3].len(), before[3].len() + 2);
    let ours: Vec<String> =
        after[3].iter().find(|row| text(&row[0]) == "ours").unwrap().iter().map(text).collect();
    assert_eq!(&ours[1..5], ["VIDEO_DETECTION", "COMPLETED", "4", "{}"]);

    assert_eq!(rows(&db.plain(), "PRAGMA foreign_key_check"), Vec::<Vec<Value>>::new());
    assert_eq!(rows(&db.plain(), "PRAGMA integrity_check"), [[Value::Text("ok".into())]]);
    // New rows of the app are visible.
    assert_eq!(library.open_jobs().unwrap()[0].id, "apps");
    let stats = library.detection_stats(DetectionScope::Video(VIDEO)).unwrap();
    // The latest import, without the app's own rows.
    assert_eq!((stats.total_detections, stats.n_tracks), (200, 2));
}

#[test]
fn a_video_can_be_added_and_removed() {
    let db = app::database("");
    let mut library = db.library();
    let before = app_view(&db);
    let new = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        ..NewVideo::at("videos/new.mp4")
    };
    let video = library.add_video(&new).unwrap();
    // The app's column is a DATE, and the app fails on a time in it.
    let date = rows(&db.plain(), "SELECT length(date) FROM games WHERE name = 'new'");
    assert_eq!(date, [[Value::Integer(10)]]);
    library.insert_job(&NewJob::new("job", video.id)).unwrap();
    library.remove_video(video.id, true).unwrap();
    let after = app_view(&db);
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn error_names_a_required_column_without_a_value() {
    let db = app::database("");
    db.plain().execute_batch("ALTER TABLE games ADD COLUMN season VARCHAR(9) NOT NULL DEFAULT ''").unwrap();
    // A column with a default needs no value.
    let full = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        ..NewVideo::at("videos/new.mp4")
    };
    db.library().add_video(&full).unwrap();

    let before = db.dump();
    let error = db.library().add_video(&NewVideo { fps: None, ..full }).unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("videos.fps")), "{error}");
    assert_eq!(db.dump(), before);
}

#[test]
fn rows_that_the_app_refers_to_are_not_removed() {
    // With a table that refers to detections, every deleted row is checked.
    let db = app::database(
        "CREATE TABLE highlights (id INTEGER NOT NULL, detection_id INTEGER NOT NULL, PRIMARY KEY (id),
            FOREIGN KEY(detection_id) REFERENCES player_detections (id));",
    );
    let mut library = db.library();
    import(&mut library, "ours", VIDEO, "a", &two_tracks(100)).unwrap();
    db.plain()
        .execute("INSERT INTO highlights (detection_id) SELECT max(id) FROM player_detections", [])
        .unwrap();
    let before = db.dump();
    for refused in [
        import(&mut library, "ours", VIDEO, "b", &two_tracks(5)).map(|_| ()),
        library.remove_job("ours", true).map(|_| ()),
        library.remove_video(VIDEO, true).map(|_| ()),
    ] {
        assert!(matches!(&refused, Err(StoreError::Conflict(text)) if text.contains("refer")), "{refused:?}");
        assert_eq!(db.dump(), before);
    }
    db.plain().execute("DELETE FROM highlights", []).unwrap();
    let report = import(&mut library, "ours", VIDEO, "b", &two_tracks(5)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 200 });
}

#[test]
fn a_video_with_annotations_of_the_app_is_not_removed() {
    let db = app::database("");
    db.plain().execute("INSERT INTO annotations (video_id, note) VALUES (4, 'dunk')", []).unwrap();
    let before = app_view(&db);
    let error = db.library().remove_video(VIDEO, false).unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert_eq!(app_view(&db), before);
}

#[test]
fn jobs_of_unknown_types_are_not_visible() {
    let db = app::database("");
    db.plain()
        .execute("UPDATE processing_jobs SET job_type = 'AUDIO_EXTRACT' WHERE id LIKE '%2'", [])
        .unwrap();
    let mut library = db.library();
    let jobs = library.jobs(&JobFilter::default()).unwrap();
    assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), [JOB]);
    let id = "5b0f8f5e-0000-4000-8000-000000000002";
    assert_eq!(library.job(id).unwrap(), None);
    assert!(matches!(library.insert_job(&NewJob::new(id, VIDEO)), Err(StoreError::Conflict(_))));
}
