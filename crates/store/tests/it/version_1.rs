//! Files of version 1, which added columns to the app's tables and wrote open jobs into the app's job table.

use rusqlite::types::Value;
use store::{
    DetectionQuery, DetectionScope, ImportOutcome, JobFilter, JobRow, JobStatus, Library, StoredTarget,
    SubmissionState,
};

use crate::app;
use crate::support::{TestDb, detection, import, rows, text};

/// The app's tables in a file that version 1 created.
const OWN: &str = "
CREATE TABLE games (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, date DATETIME NOT NULL,
    location VARCHAR(255), home_team VARCHAR(255) NOT NULL, away_team VARCHAR(255) NOT NULL,
    created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL);
CREATE TABLE videos (id INTEGER NOT NULL PRIMARY KEY, game_id INTEGER NOT NULL REFERENCES games (id),
    file_path VARCHAR(500) NOT NULL, r2_key VARCHAR(500), thumbnail_path VARCHAR(500), duration_seconds FLOAT,
    fps FLOAT, resolution VARCHAR(20), upload_date DATETIME NOT NULL, processed BOOLEAN NOT NULL,
    processing_status VARCHAR(10) NOT NULL, recorded_at DATETIME, sequence_order INTEGER, game_time_offset FLOAT);
CREATE TABLE player_detections (id INTEGER NOT NULL PRIMARY KEY, video_id INTEGER NOT NULL REFERENCES videos (id),
    frame_number INTEGER NOT NULL, player_id INTEGER, bbox_x FLOAT NOT NULL, bbox_y FLOAT NOT NULL,
    bbox_width FLOAT NOT NULL, bbox_height FLOAT NOT NULL, tracking_id INTEGER NOT NULL,
    confidence_score FLOAT NOT NULL);
CREATE TABLE processing_jobs (id VARCHAR(36) NOT NULL PRIMARY KEY, job_type VARCHAR(15) NOT NULL,
    status VARCHAR(10) NOT NULL, video_id INTEGER REFERENCES videos (id), parameters JSON,
    progress_current INTEGER NOT NULL, progress_total INTEGER NOT NULL, progress_message VARCHAR(500), result JSON,
    error_message TEXT, created_at DATETIME NOT NULL, started_at DATETIME, completed_at DATETIME,
    worker_id VARCHAR(255));
INSERT INTO games VALUES (1, 'Finals', '2024-05-01 18:00:00.000000', NULL, 'Home', 'Away', '2024-05-02 08:00:00.000000',
    '2024-05-02 08:00:00.000000');
INSERT INTO videos VALUES (4, 1, 'videos/finals.mp4', NULL, NULL, 3600.0, 29.97, '1920x1080',
    '2024-05-02 08:01:02.123456', 1, 'COMPLETED', NULL, NULL, NULL);
";

/// What version 1 added to either file.
const ADDED: &str = "
ALTER TABLE videos ADD COLUMN n_frames INTEGER;
ALTER TABLE videos ADD COLUMN size_bytes INTEGER;
ALTER TABLE videos ADD COLUMN modified_ns INTEGER;
ALTER TABLE videos ADD COLUMN sha256 VARCHAR(64);
ALTER TABLE player_detections ADD COLUMN import_id INTEGER;
ALTER TABLE processing_jobs ADD COLUMN target VARCHAR(10);
ALTER TABLE processing_jobs ADD COLUMN r2_video_key VARCHAR(500);
CREATE TABLE courtside_imports (id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL UNIQUE,
    video_id INTEGER NOT NULL REFERENCES videos (id) ON DELETE CASCADE, sha256 TEXT NOT NULL,
    n_detections INTEGER NOT NULL, frames_processed INTEGER, first_detection_id INTEGER, last_detection_id INTEGER,
    imported_at DATETIME NOT NULL);
CREATE TABLE courtside_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE courtside_jobs (id TEXT PRIMARY KEY, submission TEXT);
CREATE TABLE courtside_schema (version INTEGER NOT NULL);
INSERT INTO courtside_schema VALUES (1);
UPDATE videos SET n_frames = 107892, size_bytes = 1234, modified_ns = 5, sha256 = 'abc';
INSERT INTO courtside_imports VALUES (7, 'done', 4, 'sha', 3, 107892, 11, 13, '2024-06-01 00:00:00.000000');
INSERT INTO player_detections VALUES (11, 4, 0, NULL, 0.25, 1.5, 10, 20.75, 1, 0.5, 7),
    (12, 4, 0, NULL, 0.25, 2.5, 10, 20.75, 2, 0.25, 7), (13, 4, 1, NULL, 1.25, 1.5, 10, 20.75, 1, 0.5, 7);
";

/// Adds a job as version 1 did.
fn add_job(db: &TestDb, id: &str, status: &str, message: &str, target: Option<&str>) {
    let sql = "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current, progress_total,
        progress_message, created_at, target) VALUES (?1, 'VIDEO_DETECTION', ?2, 4, '{}', 0, 100, ?3,
        '2024-06-01 00:00:01.000000', ?4)";
    db.plain().execute(sql, rusqlite::params![id, status, message, target]).unwrap();
}

/// A file of version 1 that courtside created, and one that the app created.
fn files() -> [TestDb; 2] {
    let own = TestDb::new();
    own.plain().execute_batch(OWN).unwrap();
    let files = [own, app::database("")];
    for db in &files {
        db.plain().execute_batch(ADDED).unwrap();
        add_job(db, "done", "COMPLETED", "Imported 3 detections", Some("cloud"));
        add_job(db, "uploading", "PENDING", "uploading", Some("cloud"));
        add_job(db, "failed", "FAILED", "the upload failed", Some("local"));
        add_job(db, "tracking", "PROCESSING", "tracking", Some("cloud"));
        add_job(db, "cancelled", "CANCELLED", "", Some("cloud"));
        add_job(db, "of the app", "PENDING", "uploading", None);
    }
    files
}

fn job(library: &Library, id: &str) -> JobRow {
    library.job(id).unwrap().unwrap()
}

#[test]
fn what_version_1_stored_in_the_apps_tables_is_kept() {
    for db in files() {
        let library = db.library();
        let video = library.video(4).unwrap().unwrap();
        assert_eq!((video.n_frames, video.file.size_bytes), (Some(107_892), Some(1234)));
        assert_eq!(video.file.sha256.as_deref(), Some("abc"));

        let found = library.detections(DetectionScope::Job("done"), &DetectionQuery::default()).unwrap();
        assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), [11, 12, 13]);
        let stats = library.detection_stats(DetectionScope::Video(4)).unwrap();
        assert_eq!((stats.total_detections, stats.frames_with_detections, stats.n_tracks), (3, 2, 2));
        let tracks =
            rows(&db.plain(), "SELECT track_id, n_detections FROM courtside_write_tracks ORDER BY 1");
        assert_eq!(tracks, [[1, 2], [2, 1]].map(|row| row.map(Value::Integer)));

        assert!(job(&library, "uploading").is_uploading() && job(&library, "failed").has_failed_upload());
        assert_eq!(job(&library, "tracking").status, JobStatus::Processing);
        assert_eq!(job(&library, "tracking").submission, None);
        assert_eq!(job(&library, "done").target, Some(StoredTarget::Cloud));
        assert_eq!(job(&library, "of the app").target, None);
        assert_eq!(library.jobs(&JobFilter { video_id: Some(4), ..JobFilter::default() }).unwrap().len(), {
            let apps = rows(&db.plain(), "SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").len();
            6 + 2 * apps
        });
    }
}

#[test]
fn the_apps_worker_finds_no_open_job_of_version_1() {
    for db in files() {
        drop(db.library());
        let open = "SELECT id FROM processing_jobs WHERE status IN ('PENDING', 'PROCESSING')";
        assert_eq!(rows(&db.plain(), open), [[Value::Text("of the app".into())]]);
        // Jobs that are over keep their rows, also the one that was cancelled, possibly in the app.
        let over = rows(&db.plain(), "SELECT id FROM processing_jobs WHERE target = 'cloud' ORDER BY id");
        assert_eq!(over.iter().map(|row| text(&row[0])).collect::<Vec<_>>(), ["cancelled", "done"]);
        let library = db.library();
        assert_eq!(job(&library, "cancelled").status, JobStatus::Cancelled);
    }
}

#[test]
fn a_job_of_version_1_can_be_imported_again() {
    for db in files() {
        let mut library = db.library();
        let results = [detection(0, 1), detection(0, 2), detection(1, 1)];
        let report = import(&mut library, "done", 4, "sha", &results).unwrap();
        assert_eq!(report.outcome, ImportOutcome::AlreadyImported);
        let report = import(&mut library, "done", 4, "other", &results).unwrap();
        assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 3 });
        let left = rows(&db.plain(), "SELECT count(*) FROM player_detections WHERE import_id = 7");
        assert_eq!(left, [[Value::Integer(0)]]);
        assert_eq!(library.job("uploading").unwrap().unwrap().submission, Some(SubmissionState::Uploading));
    }
}

#[test]
fn dates_of_games_that_version_1_created_have_no_time() {
    let [own, of_app] = files();
    for db in [&own, &of_app] {
        drop(db.library());
        assert_eq!(rows(&db.plain(), "SELECT date FROM games"), [[Value::Text("2024-05-01".into())]]);
    }
    // An upgrade happens once.
    drop(own.library());
    let before = own.dump();
    drop(own.library());
    assert_eq!(own.dump(), before);
}
