//! Several connections at the same time: opening, importing, reading, waiting.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use store::{DetectionScope, ImportJob, ImportOutcome, Library, ResultsSummary, StoreError, VideoFilter};

use crate::app;
use crate::support::{TestDb, add, import, rows, two_tracks};

#[test]
fn several_processes_can_open_a_new_database() {
    for db in [TestDb::new(), app::database("")] {
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            let open = || {
                barrier.wait();
                Library::open(&db.url())
                    .map(|library| library.videos(VideoFilter::default(), 1, 1).unwrap().total)
            };
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
        assert_eq!(rows(&db.plain(), "SELECT version FROM courtside_schema").len(), 1);
    }
}

#[test]
fn the_second_of_two_concurrent_imports_changes_nothing() {
    let db = TestDb::new();
    add(&mut db.library(), "a.mp4");
    let barrier = Barrier::new(2);
    let outcomes: Vec<ImportOutcome> = thread::scope(|scope| {
        let run = || {
            let mut library = db.library();
            barrier.wait();
            import(&mut library, "job", 1, "a", &two_tracks(5000)).unwrap().outcome
        };
        let importers = [scope.spawn(run), scope.spawn(run)];
        importers.into_iter().map(|importer| importer.join().unwrap()).collect()
    });
    assert!(
        outcomes.contains(&ImportOutcome::Imported) && outcomes.contains(&ImportOutcome::AlreadyImported)
    );
    assert_eq!(db.library().detection_stats(DetectionScope::Video(1)).unwrap().total_detections, 10_000);
}

#[test]
fn readers_see_imports_atomically() {
    let db = TestDb::new();
    let mut library = db.library();
    add(&mut library, "a.mp4");
    let reader = db.library();
    let count = || reader.detection_totals(DetectionScope::Video(1)).unwrap().total_detections;
    let report = library.import(&ImportJob::new("job", 1, "a"), |writer| {
        writer.push(&two_tracks(100_000))?;
        assert_eq!(count(), 0);
        Ok::<_, StoreError>(ResultsSummary::default())
    });
    assert_eq!(report.unwrap().n_detections, 200_000);
    assert_eq!(count(), 200_000);
}

#[test]
fn error_for_a_locked_database_explains_what_to_do() {
    let db = app::database("");
    let mut library = db.library();
    library.set_busy_timeout(Duration::from_millis(10)).unwrap();
    let app = db.plain();
    app.execute_batch("BEGIN IMMEDIATE; UPDATE videos SET processed = 0").unwrap();
    let error = import(&mut library, "job", app::VIDEO, "a", &two_tracks(1)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("library.db") && message.contains("try again"), "{message}");
    // Readers still work, and so does the import after the app commits.
    assert!(library.video(app::VIDEO).unwrap().unwrap().processed);
    app.execute_batch("COMMIT").unwrap();
    import(&mut library, "job", app::VIDEO, "a", &two_tracks(1)).unwrap();
}

#[test]
fn opens_while_the_app_reads_in_another_journal_mode() {
    let db = app::database("");
    drop(db.library());
    // Not in WAL mode, and with a reader that prevents the switch.
    let app = db.plain();
    app.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    app.execute_batch("BEGIN").unwrap();
    let _: i64 = app.query_row("SELECT count(*) FROM videos", [], |row| row.get(0)).unwrap();
    let library = db.library();
    assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total, 1);
}
