//! Databases that the analyzer app made: used in place, added to, never changed.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use store::{
    ImportOutcome, JobFilter, JobStatus, JobType, Library, NewJob, NewVideo, ProcessingStatus, Select,
    StoreError,
};

use crate::app::{self, JOB, VIDEO};
use crate::support::{Place, import, rows, text, two_tracks};

fn seen_by_the_app(place: &Place) -> Vec<Vec<Vec<Value>>> {
    let conn = place.plain();
    app::selects().iter().map(|sql| rows(&conn, sql)).collect()
}

#[test]
fn opening_adds_and_changes_nothing() {
    let place = app::database("");
    let before = seen_by_the_app(&place);
    let statements = |place: &Place| -> BTreeSet<String> {
        rows(&place.plain(), "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            .iter()
            .map(|row| text(&row[0]))
            .collect()
    };
    let own = statements(&place);
    drop(place.library());
    assert_eq!(seen_by_the_app(&place), before);
    assert_eq!(rows(&place.plain(), "SELECT version_num FROM alembic_version").len(), 1);
    // A table's statement is as it was, but for the columns that were added.
    const ADDED: [&str; 7] = [
        ", n_frames INTEGER",
        ", size_bytes INTEGER",
        ", modified_ns INTEGER",
        ", sha256 VARCHAR(64)",
        ", import_id INTEGER",
        ", target VARCHAR(10)",
        ", r2_video_key VARCHAR(500)",
    ];
    let without = |sql: String| ADDED.iter().fold(sql, |sql, column| sql.replace(column, ""));
    let after: BTreeSet<String> = statements(&place).into_iter().map(without).collect();
    for statement in own {
        assert!(after.contains(&statement), "{statement}\nis not among\n{after:#?}");
    }
    // No index is added to the app's tables.
    let indexes = rows(&place.plain(), "SELECT name FROM pragma_index_list('player_detections')");
    assert_eq!(indexes.len(), 2);
    // Opened again, there is nothing to add.
    let once = place.dump();
    drop(place.library());
    assert_eq!(place.dump(), once);
}

#[test]
fn its_rows_are_read() {
    let place = app::database("");
    let library = place.library();
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
    let stats = library.detection_stats(Select::Video(VIDEO)).unwrap();
    // No import says how many frames were looked at.
    assert_eq!((stats.total_detections, stats.total_frames_processed, stats.n_tracks), (2, 2, 1));
}

#[test]
fn an_import_is_valid_for_the_app_and_the_app_goes_on() {
    let place = app::database("");
    let mut library = place.library();
    let before = seen_by_the_app(&place);
    import(&mut library, "ours", VIDEO, "a", &two_tracks(100)).unwrap();
    app::inserts(&place.plain());
    let after = seen_by_the_app(&place);
    assert_eq!(after[2].len(), before[2].len() + 200 + 1);
    assert_eq!(&after[2][..2], &before[2][..], "the app's own detections");
    assert_eq!(after[3].len(), before[3].len() + 2);
    let ours: Vec<String> =
        after[3].iter().find(|row| text(&row[0]) == "ours").unwrap().iter().map(text).collect();
    assert_eq!(&ours[1..5], ["VIDEO_DETECTION", "COMPLETED", "4", "{}"]);

    assert_eq!(rows(&place.plain(), "PRAGMA foreign_key_check"), Vec::<Vec<Value>>::new());
    assert_eq!(rows(&place.plain(), "PRAGMA integrity_check"), [[Value::Text("ok".into())]]);
    // The app's new rows are ours to read as well.
    assert_eq!(library.open_jobs().unwrap()[0].id, "apps");
    let stats = library.detection_stats(Select::Video(VIDEO)).unwrap();
    assert_eq!((stats.total_detections, stats.n_tracks), (202, 3));
}

#[test]
fn a_video_can_be_added_and_taken_away() {
    let place = app::database("");
    let mut library = place.library();
    let before = seen_by_the_app(&place);
    let new = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        ..NewVideo::at("videos/new.mp4")
    };
    let video = library.add_video(&new).unwrap();
    // The app's column is a DATE: a time in it would make the app fail.
    let date = rows(&place.plain(), "SELECT length(date) FROM games WHERE name = 'new'");
    assert_eq!(date, [[Value::Integer(10)]]);
    library.insert_job(&NewJob::new("job", video.id)).unwrap();
    library.remove_video(video.id, true).unwrap();
    let after = seen_by_the_app(&place);
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn a_column_that_we_cannot_fill_is_named() {
    let place = app::database("");
    place
        .plain()
        .execute_batch("ALTER TABLE games ADD COLUMN season VARCHAR(9) NOT NULL DEFAULT ''")
        .unwrap();
    // With a default it is no obstacle.
    let full = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        ..NewVideo::at("videos/new.mp4")
    };
    place.library().add_video(&full).unwrap();

    let before = place.dump();
    let error = place.library().add_video(&NewVideo { fps: None, ..full }).unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("videos.fps")), "{error}");
    assert_eq!(place.dump(), before);
}

#[test]
fn rows_that_the_app_refers_to_are_not_torn_out() {
    // A table that refers to detections: then every row that goes is checked.
    let place = app::database(
        "CREATE TABLE highlights (id INTEGER NOT NULL, detection_id INTEGER NOT NULL, PRIMARY KEY (id),
            FOREIGN KEY(detection_id) REFERENCES player_detections (id));",
    );
    let mut library = place.library();
    import(&mut library, "ours", VIDEO, "a", &two_tracks(100)).unwrap();
    place
        .plain()
        .execute("INSERT INTO highlights (detection_id) SELECT max(id) FROM player_detections", [])
        .unwrap();
    let before = place.dump();
    for refused in [
        import(&mut library, "ours", VIDEO, "b", &two_tracks(5)).map(|_| ()),
        library.remove_job("ours", true).map(|_| ()),
        library.remove_video(VIDEO, true).map(|_| ()),
    ] {
        assert!(matches!(&refused, Err(StoreError::Conflict(text)) if text.contains("refer")), "{refused:?}");
        assert_eq!(place.dump(), before);
    }
    place.plain().execute("DELETE FROM highlights", []).unwrap();
    let report = import(&mut library, "ours", VIDEO, "b", &two_tracks(5)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 200 });
}

#[test]
fn a_video_with_the_apps_annotations_stays() {
    let place = app::database("");
    place.plain().execute("INSERT INTO annotations (video_id, note) VALUES (4, 'dunk')", []).unwrap();
    let before = seen_by_the_app(&place);
    let error = place.library().remove_video(VIDEO, false).unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert_eq!(seen_by_the_app(&place), before);
}

#[test]
fn an_older_database_gets_the_columns_that_it_lacks() {
    let place = app::database("");
    place
        .plain()
        .execute_batch(
            "ALTER TABLE videos DROP COLUMN sequence_order;
             ALTER TABLE videos DROP COLUMN game_time_offset;
             ALTER TABLE videos DROP COLUMN r2_key;
             ALTER TABLE processing_jobs DROP COLUMN worker_id;
             DROP TABLE annotations",
        )
        .unwrap();
    let mut library = place.library();
    assert_eq!(library.video(VIDEO).unwrap().unwrap().sequence_order, None);
    import(&mut library, "ours", VIDEO, "a", &two_tracks(10)).unwrap();
    app::inserts(&place.plain());
}

#[test]
fn a_database_without_jobs_gets_that_table() {
    let place = app::database("");
    place.plain().execute_batch("DROP TABLE processing_jobs").unwrap();
    let mut library = place.library();
    library.insert_job(&NewJob::new("job", VIDEO)).unwrap();
    import(&mut library, "job", VIDEO, "a", &two_tracks(10)).unwrap();
}

#[test]
fn columns_that_the_apps_migration_lost_come_back() {
    let place = app::database("");
    let mut library = place.library();
    import(&mut library, "ours", VIDEO, "a", &two_tracks(10)).unwrap();
    drop(library);
    // As a migration that remakes a table from the app's own description of it.
    place.plain().execute_batch("ALTER TABLE player_detections DROP COLUMN import_id").unwrap();
    let mut library = place.library();
    // The rows are there, but nobody's; the job's next import brings its own.
    assert_eq!(library.detection_stats(Select::Job("ours")).unwrap().total_detections, 0);
    import(&mut library, "ours", VIDEO, "a", &two_tracks(10)).unwrap();
    assert_eq!(library.detection_stats(Select::Job("ours")).unwrap().total_detections, 20);
}

#[test]
fn jobs_of_unknown_types_are_the_apps_alone() {
    let place = app::database("");
    place
        .plain()
        .execute("UPDATE processing_jobs SET job_type = 'AUDIO_EXTRACT' WHERE id LIKE '%2'", [])
        .unwrap();
    let mut library = place.library();
    let jobs = library.jobs(&JobFilter::default()).unwrap();
    assert_eq!(jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), [JOB]);
    let id = "5b0f8f5e-0000-4000-8000-000000000002";
    assert_eq!(library.job(id).unwrap(), None);
    assert!(matches!(library.insert_job(&NewJob::new(id, VIDEO)), Err(StoreError::Conflict(_))));
}

#[test]
fn a_value_that_makes_no_sense_is_named() {
    let place = app::database("");
    place.plain().execute("UPDATE videos SET processing_status = 'LIMBO'", []).unwrap();
    place
        .plain()
        .execute("UPDATE processing_jobs SET created_at = 'yesterday' WHERE id LIKE '%2'", [])
        .unwrap();
    let library = Library::open(&place.url()).unwrap();
    let error = library.video(VIDEO).unwrap_err().to_string();
    assert!(error.contains("videos 4: processing_status is \"LIMBO\""), "{error}");
    let error = library.open_jobs().map(|jobs| jobs.len());
    assert_eq!(error.unwrap(), 0);
    let error = library.jobs(&JobFilter::default()).unwrap_err().to_string();
    assert!(error.contains("created_at is \"yesterday\""), "{error}");
}
