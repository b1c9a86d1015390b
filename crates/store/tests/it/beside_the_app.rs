//! The app's migrations and the app's programs, which work on the same file: nothing that courtside does breaks them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::Value;
use store::{
    DetectionQuery, DetectionScope, FileFingerprint, ImportOutcome, JobFilter, JobStatus, JobUpdate, Library,
    NewJob, NewVideo, ProcessingStatus, StoredTarget, VideoEdit, VideoFilter,
};

use crate::app::{self, VIDEO};
use crate::support::{TestDb, detection, import, rows, text, two_tracks};

/// A stage of the app's database, and the app's migration to the next one, up and down.
struct Stage {
    name: &'static str,
    /// Makes the stage from the latest one.
    downgrades: &'static str,
    /// What the next migrations do.
    up: &'static str,
    /// What they do when they are reverted.
    down: &'static str,
}

const STAGES: [Stage; 6] = [
    Stage { name: "latest", downgrades: "", up: "", down: "" },
    Stage {
        name: "without thumbnails",
        downgrades: "ALTER TABLE videos DROP COLUMN thumbnail_path",
        up: "ALTER TABLE videos ADD COLUMN thumbnail_path VARCHAR(500)",
        down: "ALTER TABLE videos DROP COLUMN thumbnail_path",
    },
    Stage {
        name: "without keys in a bucket",
        downgrades: "ALTER TABLE videos DROP COLUMN thumbnail_path; ALTER TABLE videos DROP COLUMN r2_key",
        up: "ALTER TABLE videos ADD COLUMN r2_key VARCHAR(500); CREATE INDEX ix_videos_r2_key ON videos (r2_key);
            ALTER TABLE videos ADD COLUMN thumbnail_path VARCHAR(500)",
        down: "ALTER TABLE videos DROP COLUMN thumbnail_path; DROP INDEX ix_videos_r2_key;
            ALTER TABLE videos DROP COLUMN r2_key",
    },
    Stage {
        name: "without jobs",
        downgrades: "DROP TABLE processing_jobs; ALTER TABLE videos DROP COLUMN r2_key",
        up: "CREATE TABLE processing_jobs (
                id VARCHAR(36) NOT NULL, job_type VARCHAR(15) NOT NULL, status VARCHAR(10) NOT NULL, video_id INTEGER,
                parameters JSON NOT NULL, progress_current INTEGER NOT NULL, progress_total INTEGER NOT NULL,
                progress_message VARCHAR(500) NOT NULL, result JSON, error_message TEXT, created_at DATETIME NOT NULL,
                started_at DATETIME, completed_at DATETIME, worker_id VARCHAR(100),
                PRIMARY KEY (id), FOREIGN KEY(video_id) REFERENCES videos (id) ON DELETE CASCADE);
            CREATE INDEX ix_processing_jobs_status ON processing_jobs (status);
            ALTER TABLE videos ADD COLUMN r2_key VARCHAR(500)",
        down: "ALTER TABLE videos DROP COLUMN r2_key; DROP TABLE processing_jobs",
    },
    Stage {
        name: "without the order of videos",
        downgrades: "ALTER TABLE videos DROP COLUMN sequence_order; ALTER TABLE videos DROP COLUMN game_time_offset;
            ALTER TABLE videos DROP COLUMN recorded_at",
        up: "ALTER TABLE videos ADD COLUMN recorded_at DATETIME; ALTER TABLE videos ADD COLUMN sequence_order INTEGER;
            ALTER TABLE videos ADD COLUMN game_time_offset FLOAT",
        down: "ALTER TABLE videos DROP COLUMN game_time_offset; ALTER TABLE videos DROP COLUMN sequence_order;
            ALTER TABLE videos DROP COLUMN recorded_at",
    },
    // As SQLAlchemy's batch mode recreates a table.
    Stage {
        name: "with tables that the next migration recreates",
        downgrades: "",
        up: "CREATE TABLE _alembic_tmp_player_detections (
                id INTEGER NOT NULL, video_id INTEGER NOT NULL, frame_number INTEGER NOT NULL, player_id INTEGER,
                bbox_x FLOAT NOT NULL, bbox_y FLOAT NOT NULL, bbox_width FLOAT NOT NULL, bbox_height FLOAT NOT NULL,
                tracking_id INTEGER NOT NULL, confidence_score FLOAT NOT NULL, team VARCHAR(20),
                PRIMARY KEY (id), FOREIGN KEY(video_id) REFERENCES videos (id));
            INSERT INTO _alembic_tmp_player_detections SELECT id, video_id, frame_number, player_id, bbox_x, bbox_y,
                bbox_width, bbox_height, tracking_id, confidence_score, NULL FROM player_detections;
            DROP TABLE player_detections;
            ALTER TABLE _alembic_tmp_player_detections RENAME TO player_detections;
            CREATE INDEX idx_detection_video_frame ON player_detections (video_id, frame_number)",
        down: "ALTER TABLE player_detections DROP COLUMN team",
    },
];

/// Runs every operation of the library.
fn use_all(db: &TestDb) {
    let mut library = db.library();
    let new = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        ..NewVideo::at("videos/new.mp4")
    };
    let video = library.add_video(&new).unwrap().id;
    library.set_video_r2_key(video, Some("videos/a.mp4")).unwrap();
    library.set_processing_status(video, ProcessingStatus::Processing).unwrap();
    let file = FileFingerprint { size_bytes: Some(5), ..FileFingerprint::default() };
    library.set_video_fingerprint(video, Some(9), &file).unwrap();
    library.edit_video(video, &VideoEdit { sequence_order: Some(2), ..VideoEdit::default() }).unwrap();
    library.insert_job(&NewJob { target: Some(StoredTarget::Cloud), ..NewJob::new("job", video) }).unwrap();
    for status in [JobStatus::Processing, JobStatus::Failed, JobStatus::Pending] {
        let update = JobUpdate { status: Some(status), error: Some("x".into()), ..JobUpdate::default() };
        library.update_job("job", &update).unwrap();
    }
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    import(&mut library, "job", video, "b", &two_tracks(5)).unwrap();
    import(&mut library, "of the app's video", VIDEO, "a", &two_tracks(3)).unwrap();
    assert_eq!(library.video(video).unwrap().unwrap().n_frames, Some(9));
    assert!(library.videos(VideoFilter::default(), 1, 10).unwrap().total >= 2);
    assert!(!library.games().unwrap().is_empty());
    assert!(library.jobs(&JobFilter::default()).unwrap().len() >= 2);
    assert_eq!(library.detection_stats(DetectionScope::Job("job")).unwrap().total_detections, 10);
    assert_eq!(
        library.detections(DetectionScope::Video(VIDEO), &DetectionQuery::default()).unwrap().len(),
        6
    );
    library.remove_job("of the app's video", false).unwrap();
    library.remove_video(video, false).unwrap();
}

#[test]
fn the_apps_migrations_run_after_every_operation_at_every_stage() {
    for stage in &STAGES {
        let db = app::database("");
        db.plain().execute_batch(stage.downgrades).unwrap();
        let before = app_schema(&db.plain());
        use_all(&db);
        assert_eq!(app_schema(&db.plain()), before, "{}", stage.name);
        let app = db.plain();
        app.execute_batch(stage.up).unwrap_or_else(|e| panic!("{}: {e}", stage.name));
        use_all(&db);
        app.execute_batch(stage.down).unwrap_or_else(|e| panic!("{}: {e}", stage.name));
        use_all(&db);
        assert_eq!(rows(&app, "PRAGMA integrity_check"), [[Value::Text("ok".into())]]);
    }
}

/// The statements of all tables and indexes that are not courtside's.
fn app_schema(conn: &Connection) -> Vec<String> {
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'courtside_%'
        AND name NOT LIKE 'sqlite_%' ORDER BY name";
    rows(conn, sql).iter().map(|row| text(&row[0])).collect()
}

/// The jobs that the app's worker would run.
fn pending(db: &TestDb) -> Vec<String> {
    let sql = "SELECT id FROM processing_jobs WHERE status IN ('PENDING', 'PROCESSING') ORDER BY id";
    rows(&db.plain(), sql).iter().map(|row| text(&row[0])).collect()
}

fn set(library: &Library, status: JobStatus) {
    library.update_job("ours", &JobUpdate { status: Some(status), ..JobUpdate::default() }).unwrap();
}

fn apps_status(db: &TestDb) -> Option<String> {
    let found = rows(&db.plain(), "SELECT status FROM processing_jobs WHERE id = 'ours'");
    found.first().map(|row| text(&row[0]))
}

#[test]
fn the_apps_worker_never_finds_a_job_of_ours() {
    let db = app::database("");
    let mut library = db.library();
    library.insert_job(&NewJob { target: Some(StoredTarget::Cloud), ..NewJob::new("ours", VIDEO) }).unwrap();
    let over = [JobStatus::Failed, JobStatus::Cancelled, JobStatus::Completed];
    for end in over {
        for open in [JobStatus::Pending, JobStatus::Processing] {
            set(&library, open);
            assert_eq!((pending(&db), apps_status(&db)), (vec![], None));
            assert_eq!(library.job("ours").unwrap().unwrap().status, open);
        }
        set(&library, end);
        assert_eq!(apps_status(&db).as_deref(), Some(end.as_str()));
    }
    import(&mut library, "ours", VIDEO, "a", &two_tracks(2)).unwrap();
    assert_eq!(apps_status(&db).as_deref(), Some("COMPLETED"));
    assert_eq!(library.jobs(&JobFilter::default()).unwrap().len(), 3);
}

#[test]
fn a_row_that_the_app_changed_or_removed_is_left_as_it_is() {
    let db = app::database("");
    let mut library = db.library();
    library.insert_job(&NewJob::new("ours", VIDEO)).unwrap();
    set(&library, JobStatus::Completed);
    db.plain().execute("UPDATE processing_jobs SET status = 'CANCELLED' WHERE id = 'ours'", []).unwrap();
    for status in [JobStatus::Pending, JobStatus::Failed, JobStatus::Completed] {
        set(&library, status);
        assert_eq!(apps_status(&db).as_deref(), Some("CANCELLED"));
    }

    library.remove_job("ours", true).unwrap();
    library.insert_job(&NewJob::new("ours", VIDEO)).unwrap();
    set(&library, JobStatus::Failed);
    db.plain().execute("DELETE FROM processing_jobs WHERE id = 'ours'", []).unwrap();
    set(&library, JobStatus::Completed);
    assert_eq!(apps_status(&db), None);
}

#[test]
fn a_job_of_the_app_can_be_cancelled() {
    let db = app::database("");
    app::inserts(&db.plain());
    let library = db.library();
    let cancelled = JobUpdate { status: Some(JobStatus::Cancelled), ..JobUpdate::default() };
    assert!(library.update_job_if("apps", JobStatus::OPEN, &cancelled).unwrap());
    assert_eq!(pending(&db), [] as [&str; 0]);
    assert_eq!(library.job("apps").unwrap().unwrap().status, JobStatus::Cancelled);
}

/// Inserts [`two_tracks`] as an older importer does, within the transaction of the caller.
fn import_elsewhere(conn: &Connection, video: i64, n_frames: i64) {
    let sql = "WITH RECURSIVE frames (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM frames WHERE n + 1 < ?2)
        INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
            confidence_score)
        SELECT ?1, n, n + 0.25, track + 0.5, 10, 20.75, track, 0.5
        FROM frames, (SELECT 1 AS track UNION ALL SELECT 2)";
    assert_eq!(conn.execute(sql, [video, n_frames]).unwrap() as i64, 2 * n_frames);
}

fn n_rows(db: &TestDb, video: i64) -> i64 {
    let sql = format!("SELECT count(*) FROM player_detections WHERE video_id = {video}");
    match rows(&db.plain(), &sql)[0][0] {
        Value::Integer(n) => n,
        _ => panic!("no count"),
    }
}

#[test]
fn rows_that_an_older_importer_inserted_are_not_inserted_again() {
    let db = app::database("DELETE FROM player_detections");
    db.plain().execute("DELETE FROM player_detections", []).unwrap();
    let other = db.plain();
    other.execute_batch("BEGIN").unwrap();
    import_elsewhere(&other, VIDEO, 3000);
    other.execute_batch("COMMIT").unwrap();
    let mut library = db.library();
    for _ in 0..3 {
        let report = import(&mut library, "job", VIDEO, "a", &two_tracks(3000)).unwrap();
        assert_eq!((report.outcome, report.n_detections), (ImportOutcome::AlreadyImported, 6000));
        assert_eq!(n_rows(&db, VIDEO), 6000);
    }
    assert_eq!(library.detection_stats(DetectionScope::Job("job")).unwrap().n_tracks, 2);
    assert_eq!(library.job("job").unwrap().unwrap().status, JobStatus::Completed);

    // Other results of the video are other rows.
    let report = import(&mut library, "second", VIDEO, "b", &[detection(0, 1)]).unwrap();
    assert_eq!((report.outcome, n_rows(&db, VIDEO)), (ImportOutcome::Imported, 6001));
}

#[test]
fn rows_that_an_older_importer_commits_meanwhile_are_not_inserted_again() {
    let db = app::database("");
    db.plain().execute("DELETE FROM player_detections", []).unwrap();
    // It holds its transaction for longer than ours takes to read the results.
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    import_elsewhere(&other, VIDEO, 3000);
    let report = std::thread::scope(|scope| {
        let ours = scope.spawn(|| import(&mut db.library(), "job", VIDEO, "a", &two_tracks(3000)));
        std::thread::sleep(std::time::Duration::from_millis(700));
        other.execute_batch("COMMIT").unwrap();
        ours.join().unwrap().unwrap()
    });
    assert_eq!(report.outcome, ImportOutcome::AlreadyImported);
    assert_eq!(n_rows(&db, VIDEO), 6000);
}

#[test]
fn rows_that_an_older_importer_commits_between_our_transactions_are_not_doubled() {
    let db = app::database("");
    db.plain().execute("DELETE FROM player_detections", []).unwrap();
    drop(db.library());
    // Several transactions.
    let n_frames = 100_000;
    let is_over = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let ours = scope.spawn(|| import(&mut db.library(), "job", VIDEO, "a", &two_tracks(n_frames)));
        let reader = scope.spawn(|| {
            let (library, mut seen) = (db.library(), BTreeSet::new());
            while !is_over.load(Ordering::Relaxed) {
                seen.insert(library.detection_totals(DetectionScope::Video(VIDEO)).unwrap().total_detections);
            }
            seen
        });
        let other = db.plain();
        other.busy_timeout(Duration::from_secs(5)).unwrap();
        while rows(&other, "SELECT 1 FROM player_detections LIMIT 1").is_empty() {
            std::thread::yield_now();
        }
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        import_elsewhere(&other, VIDEO, n_frames);
        other.execute_batch("COMMIT").unwrap();
        let report = ours.join();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(report.unwrap().unwrap().outcome, ImportOutcome::AlreadyImported);
        reader.join().unwrap()
    });
    assert!(seen.is_subset(&BTreeSet::from([0, 2 * n_frames])), "{seen:?}");
    assert_eq!(n_rows(&db, VIDEO), 2 * n_frames);
    let library = db.library();
    assert!(library.has_all_rows("job").unwrap());
    assert_eq!(library.detection_stats(DetectionScope::Job("job")).unwrap().n_tracks, 2);
}

#[test]
fn a_video_that_got_the_id_of_a_removed_one_has_none_of_its_data() {
    let db = app::database("");
    let mut library = db.library();
    let new = NewVideo {
        duration_seconds: Some(1.0),
        fps: Some(25.0),
        resolution: Some((640, 360)),
        n_frames: Some(77),
        ..NewVideo::at("videos/new.mp4")
    };
    let video = library.add_video(&new).unwrap().id;
    import(&mut library, "job", video, "a", &two_tracks(10)).unwrap();
    drop(library);
    let app = db.plain();
    app.execute("DELETE FROM player_detections WHERE video_id = ?1", [video]).unwrap();
    app.execute("DELETE FROM videos WHERE id = ?1", [video]).unwrap();
    app::inserts(&app);
    let library = db.library();
    let other = library.video(video).unwrap().unwrap();
    assert_eq!((other.file_path.as_str(), other.n_frames), ("videos/second.mp4", None));
    assert_eq!(library.import_of("job").unwrap(), None);
    assert_eq!(library.job("job").unwrap().unwrap().video_id, None);
}
