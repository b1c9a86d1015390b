//! Imports whose rows are in thousands of ranges of ids, between rows of other programs.

use rusqlite::Connection;
use rusqlite::types::Value;
use store::{DetectionQuery, DetectionScope, ImportOutcome, Library};

use crate::app::{self, VIDEO};
use crate::support::{TestDb, detection, import, rows, two_tracks};

const N_RANGES: i64 = 5_000;

/// A database of the app in which an older importer wrote one row per frame, each followed by a row of another video. They
/// are imported as job `job`.
fn scattered() -> (TestDb, Library) {
    let db = app::database("");
    let app = db.plain();
    app::inserts(&app);
    app.execute_batch("DELETE FROM player_detections; BEGIN").unwrap();
    for frame in 0..N_RANGES {
        let [x, y, width, height] = detection(frame, 1).bbox;
        for video in [VIDEO, VIDEO + 1] {
            app.execute(
                "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height,
                    tracking_id, confidence_score) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, 0.5)",
                rusqlite::params![video, frame, x, y, width, height],
            )
            .unwrap();
        }
    }
    app.execute_batch("COMMIT").unwrap();
    let mut library = db.library();
    let results: Vec<_> = (0..N_RANGES).map(|frame| detection(frame, 1)).collect();
    let report = import(&mut library, "job", VIDEO, "a", &results).unwrap();
    assert_eq!((report.outcome, report.n_detections), (ImportOutcome::AlreadyImported, N_RANGES));
    (db, library)
}

fn count(conn: &Connection, what: &str) -> Value {
    rows(conn, &format!("SELECT count(*) FROM {what}"))[0][0].clone()
}

#[test]
fn a_job_in_5000_ranges_is_read_listed_and_removed() {
    let (db, mut library) = scattered();
    assert_eq!(count(&db.plain(), "courtside_ranges"), Value::Integer(N_RANGES));
    let scope = DetectionScope::Job("job");
    let query = DetectionQuery { frame_start: Some(10), limit: Some(20), ..DetectionQuery::default() };
    let frames: Vec<i64> =
        library.detections(scope, &query).unwrap().iter().map(|row| row.detection.frame).collect();
    assert_eq!(frames, (10..30).collect::<Vec<_>>());
    let totals = library.detection_totals(scope).unwrap();
    assert_eq!((totals.total_detections, totals.frames_with_detections), (N_RANGES, N_RANGES));
    // Rows of the app in the same video are others'.
    import(&mut library, "second", VIDEO, "b", &two_tracks(10)).unwrap();
    db.plain()
        .execute_batch(
            "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height,
                tracking_id, confidence_score) VALUES (4, 1, 1, 1, 1, 1, 77, 0.5)",
        )
        .unwrap();
    assert_eq!(library.detection_stats(scope).unwrap().n_tracks, 1);
    let report = import(&mut library, "third", VIDEO, "c", &[detection(7, 7)]).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Imported);

    db.plain()
        .execute("DELETE FROM player_detections WHERE frame_number = 4999 AND video_id = 4", [])
        .unwrap();
    assert_eq!(library.detection_totals(scope).unwrap().total_detections, N_RANGES - 1);
    assert_eq!(library.remove_job("job", false).unwrap().n_detections, N_RANGES - 1);
    // 20 of the second job, 1 of the third, and 1 of the app.
    assert_eq!(count(&db.plain(), "player_detections WHERE video_id = 4"), Value::Integer(22));
    assert_eq!(count(&db.plain(), "player_detections WHERE video_id = 5"), Value::Integer(N_RANGES));
    assert_eq!(count(&db.plain(), "courtside_ranges"), Value::Integer(2));
}
