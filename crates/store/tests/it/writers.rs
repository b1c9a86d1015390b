//! Other programs that write during an import.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{DetectionScope, ImportOutcome, StoreError};

use crate::support::{TestDb, add, detection, import, rows, text, two_tracks};

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
         INSERT INTO courtside_ranges SELECT 50, max(id) - 1, max(id), 3, 1, 2, 4, 1, 2 FROM player_detections",
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

/// What another process does after the first transaction of an import.
type Disturbance = fn(&TestDb);

#[test]
fn an_import_whose_rows_are_removed_meanwhile_fails_and_can_be_repeated() {
    let by_collector: Disturbance = |db| {
        // As a process that takes the writer for dead begins.
        db.plain().execute("UPDATE courtside_writes SET alive_at = 0", []).unwrap();
    };
    let by_user: Disturbance = |db| {
        db.library().remove_detections(1).unwrap();
    };
    let by_app: Disturbance = |db| {
        db.plain().execute("DELETE FROM player_detections WHERE id % 1000 = 7", []).unwrap();
    };
    for (what, disturb) in [("collector", by_collector), ("user", by_user), ("app", by_app)] {
        let db = TestDb::new();
        add(&mut db.library(), "a.mp4");
        let detections = two_tracks(200_000);
        let result = std::thread::scope(|scope| {
            let importing = scope.spawn(|| import(&mut db.library(), "job", 1, "a", &detections));
            let watcher = db.plain();
            watcher.busy_timeout(Duration::from_secs(5)).unwrap();
            while rows(&watcher, "SELECT 1 FROM player_detections LIMIT 1").is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            disturb(&db);
            importing.join().unwrap()
        });
        assert!(matches!(result, Err(StoreError::Conflict(_))), "{what}: {result:?}");
        let mut library = db.library();
        assert_eq!(library.import_of("job").unwrap(), None, "{what}");
        let report = import(&mut library, "job", 1, "a", &two_tracks(5)).unwrap();
        assert_eq!((report.outcome, report.n_detections), (ImportOutcome::Imported, 10), "{what}");
        let n_rows = rows(&db.plain(), "SELECT count(*) FROM player_detections");
        assert_eq!(n_rows, [[rusqlite::types::Value::Integer(10)]], "{what}");
        assert!(library.has_all_rows("job").unwrap());
    }
}

#[test]
fn a_track_for_each_of_200_000_detections_is_not_written_in_the_transaction_that_shows_them() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    let detections: Vec<_> = (0..200_000).map(|n| detection(n, n)).collect();
    let is_over = AtomicBool::new(false);
    let numbers = std::thread::scope(|scope| {
        // How many tracks were stored before the import was visible.
        let watcher = scope.spawn(|| {
            let (conn, mut numbers) = (db.plain(), std::collections::BTreeSet::new());
            let sql = "SELECT count(*) FROM courtside_write_tracks WHERE NOT EXISTS (SELECT 1 FROM courtside_imports)";
            while !is_over.load(Ordering::Relaxed) {
                numbers.insert(text(&rows(&conn, sql)[0][0]).parse::<i64>().unwrap());
            }
            numbers
        });
        let report = import(&mut library, "job", video, "a", &detections).unwrap();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(report.n_detections, 200_000);
        watcher.join().unwrap()
    });
    assert!(numbers.iter().any(|n| (1..200_000).contains(n)) && numbers.contains(&200_000), "{numbers:?}");
    assert_eq!(library.track_summaries(DetectionScope::Job("job")).unwrap().len(), 200_000);
    library.remove_job("job", false).unwrap();
    assert!(rows(&db.plain(), "SELECT 1 FROM courtside_write_tracks LIMIT 1").is_empty());
}
