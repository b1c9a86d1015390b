//! A database as the analyzer app's migrations create it, and the statements that the app runs on it.

use rusqlite::{Connection, params};

use crate::support::TestDb;

/// Tables as SQLAlchemy creates them on SQLite: with lengths, `DATETIME` and named constraints, without
/// defaults, and with additional tables that refer to the common ones.
const TABLES: &str = "
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
CREATE TABLE games (
    id INTEGER NOT NULL, name VARCHAR(200) NOT NULL, date DATE NOT NULL, location VARCHAR(200),
    home_team VARCHAR(100) NOT NULL, away_team VARCHAR(100) NOT NULL,
    created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE players (id INTEGER NOT NULL, name VARCHAR(100) NOT NULL, PRIMARY KEY (id));
CREATE TABLE videos (
    id INTEGER NOT NULL, game_id INTEGER NOT NULL, file_path VARCHAR(500) NOT NULL, r2_key VARCHAR(500),
    thumbnail_path VARCHAR(500), duration_seconds FLOAT NOT NULL, fps FLOAT NOT NULL, resolution VARCHAR(20) NOT NULL,
    upload_date DATETIME NOT NULL, processed BOOLEAN NOT NULL, processing_status VARCHAR(10) NOT NULL,
    recorded_at DATETIME, sequence_order INTEGER, game_time_offset FLOAT,
    PRIMARY KEY (id), FOREIGN KEY(game_id) REFERENCES games (id)
);
CREATE TABLE player_detections (
    id INTEGER NOT NULL, video_id INTEGER NOT NULL, frame_number INTEGER NOT NULL, player_id INTEGER,
    bbox_x FLOAT NOT NULL, bbox_y FLOAT NOT NULL, bbox_width FLOAT NOT NULL, bbox_height FLOAT NOT NULL,
    tracking_id INTEGER NOT NULL, confidence_score FLOAT NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(player_id) REFERENCES players (id), FOREIGN KEY(video_id) REFERENCES videos (id)
);
CREATE INDEX idx_detection_video_frame ON player_detections (video_id, frame_number);
CREATE INDEX idx_detection_tracking ON player_detections (tracking_id);
CREATE TABLE processing_jobs (
    id VARCHAR(36) NOT NULL, job_type VARCHAR(15) NOT NULL, status VARCHAR(10) NOT NULL, video_id INTEGER,
    parameters JSON NOT NULL, progress_current INTEGER NOT NULL, progress_total INTEGER NOT NULL,
    progress_message VARCHAR(500) NOT NULL, result JSON, error_message TEXT, created_at DATETIME NOT NULL,
    started_at DATETIME, completed_at DATETIME, worker_id VARCHAR(100),
    PRIMARY KEY (id), FOREIGN KEY(video_id) REFERENCES videos (id) ON DELETE CASCADE
);
CREATE INDEX ix_processing_jobs_status ON processing_jobs (status);
CREATE TABLE annotations (
    id INTEGER NOT NULL, video_id INTEGER NOT NULL, note TEXT, PRIMARY KEY (id),
    FOREIGN KEY(video_id) REFERENCES videos (id)
);
";

const ROWS: &str = "
INSERT INTO alembic_version VALUES ('f3a1');
INSERT INTO games VALUES (1, 'Finals', '2024-05-01', NULL, 'Reds', 'Blues', '2024-05-02 08:00:00.000000',
    '2024-05-02 08:00:00.000000');
INSERT INTO players VALUES (1, 'Seven');
INSERT INTO videos VALUES (4, 1, 'videos/finals.mp4', NULL, 'thumbs/4.jpg', 3600.0, 29.97, '1920x1080',
    '2024-05-02 08:01:02.123456', 1, 'COMPLETED', '2024-05-01 19:30:00.000000', 1, 0.0);
INSERT INTO player_detections VALUES (1, 4, 0, 1, 1.5, 2.5, 30.0, 60.0, 7, 0.9), (2, 4, 1, NULL, 2.5, 2.5, 30.0, 60.0, 7, 0.8);
INSERT INTO processing_jobs VALUES ('5b0f8f5e-0000-4000-8000-000000000001', 'VIDEO_DETECTION', 'COMPLETED', 4,
    '{\"sample_interval\": 1, \"confidence_threshold\": 0.25}', 2, 2, 'Done', '{\"total_detections\": 2}', NULL,
    '2024-05-02 08:02:00.000000', '2024-05-02 08:02:01.000000', '2024-05-02 08:03:00.000000', NULL);
INSERT INTO processing_jobs VALUES ('5b0f8f5e-0000-4000-8000-000000000002', 'TRACK_REPROCESS', 'FAILED', 4, 'null', 0, 0, '',
    NULL, 'no tracks', '2024-05-03 08:02:00.000000', NULL, NULL, NULL);
";

/// Id of the app's video.
pub(crate) const VIDEO: i64 = 4;
/// Id of the app's completed job.
pub(crate) const JOB: &str = "5b0f8f5e-0000-4000-8000-000000000001";

/// The app's database; `more` is run after its tables are created.
pub(crate) fn database(more: &str) -> TestDb {
    let db = TestDb::new();
    let conn = db.plain();
    // The settings of the app's driver.
    conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_mode = DELETE").unwrap();
    conn.execute_batch(TABLES).unwrap();
    conn.execute_batch(more).unwrap();
    conn.execute_batch(ROWS).unwrap();
    db
}

/// The queries with which the app reads its tables.
pub(crate) fn selects() -> [&'static str; 4] {
    [
        "SELECT id, name, date, location, home_team, away_team, created_at, updated_at FROM games ORDER BY id",
        "SELECT id, game_id, file_path, r2_key, thumbnail_path, duration_seconds, fps, resolution, upload_date, processed,
            processing_status, recorded_at, sequence_order, game_time_offset FROM videos ORDER BY id",
        "SELECT id, video_id, frame_number, player_id, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
            confidence_score FROM player_detections ORDER BY id",
        "SELECT id, job_type, status, video_id, parameters, progress_current, progress_total, progress_message, result,
            error_message, created_at, started_at, completed_at, worker_id FROM processing_jobs ORDER BY id",
    ]
}

/// Adds a video, a detection and a job as the app does.
pub(crate) fn inserts(conn: &Connection) {
    conn.execute(
        "INSERT INTO videos (game_id, file_path, r2_key, thumbnail_path, duration_seconds, fps, resolution, upload_date,
            processed, processing_status, recorded_at, sequence_order, game_time_offset)
         VALUES (1, 'videos/second.mp4', NULL, NULL, 10.0, 25.0, '640x360', '2024-06-01 00:00:00.000000', 0, 'PENDING',
            NULL, NULL, NULL)",
        [],
    )
    .unwrap();
    let video = conn.last_insert_rowid();
    conn.execute(
        "INSERT INTO player_detections (video_id, frame_number, player_id, bbox_x, bbox_y, bbox_width, bbox_height,
            tracking_id, confidence_score) VALUES (?1, 3, 1, 1.0, 2.0, 3.0, 4.0, 5, 0.5)",
        [video],
    )
    .unwrap();
    conn.execute(
        "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current, progress_total,
            progress_message, result, error_message, created_at, started_at, completed_at, worker_id)
         VALUES ('apps', 'VIDEO_DETECTION', 'PENDING', ?1, '{}', 0, 100, '', NULL, NULL, ?2, NULL, NULL, NULL)",
        params![video, "2024-06-01 00:00:01.000000"],
    )
    .unwrap();
}
