//! Other programs that write during an import.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{DetectionScope, ImportOutcome};

use crate::support::{TestDb, add, import, rows, two_tracks};

#[test]
fn writers_with_a_timeout_of_five_seconds_never_fail_during_an_import() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    // Several transactions.
    let detections = two_tracks(300_000);
    let is_over = AtomicBool::new(false);
    let write = || {
        let app = db.plain();
        app.busy_timeout(Duration::from_secs(5)).unwrap();
        let mut n_written = 0;
        while !is_over.load(Ordering::Relaxed) {
            app.execute("UPDATE videos SET file_path = file_path", []).unwrap();
            n_written += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        n_written
    };
    let n_written = std::thread::scope(|scope| {
        let writers = [scope.spawn(write), scope.spawn(write)];
        let report = import(&mut library, "job", video, "a", &detections).unwrap();
        assert_eq!(report.n_detections, 600_000);
        let report = import(&mut library, "job", video, "b", &detections[..200_000]).unwrap();
        assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 600_000 });
        library.remove_job("job", false).unwrap();
        is_over.store(true, Ordering::Relaxed);
        writers.map(|writer| writer.join().unwrap())
    });
    assert!(n_written.iter().all(|n| *n > 0), "{n_written:?}");
    assert!(rows(&db.plain(), "SELECT 1 FROM player_detections LIMIT 1").is_empty());
    assert!(rows(&db.plain(), "SELECT 1 FROM courtside_writes").is_empty());
}

#[test]
fn what_a_dead_importer_wrote_is_invisible_and_removed_by_the_next_import() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "before", video, "a", &two_tracks(10)).unwrap();
    // As an import leaves it that was killed after its first transaction.
    let app = db.plain();
    app.execute_batch(
        "INSERT INTO courtside_writes VALUES (50, 'job', 1, 1000);
         INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
            confidence_score) VALUES (1, 3, 1, 2, 3, 4, 9, 0.5), (1, 4, 1, 2, 3, 4, 9, 0.5);
         INSERT INTO courtside_ranges SELECT 50, max(id) - 1, max(id), 3, 1, 2 FROM player_detections",
    )
    .unwrap();
    let stats = |library: &store::Library| {
        library.detection_stats(DetectionScope::Video(video)).unwrap().total_detections
    };
    assert_eq!(stats(&library), 20);
    library.remove_job("before", false).unwrap();
    assert_eq!(stats(&library), 0);
    let report = import(&mut library, "job", video, "a", &two_tracks(7)).unwrap();
    assert_eq!((report.outcome, stats(&library)), (ImportOutcome::Imported, 14));
    let n_rows = rows(&app, "SELECT count(*) FROM player_detections");
    assert_eq!(n_rows, [[rusqlite::types::Value::Integer(14)]]);
}
