//! Several connections at once: opening, importing, reading, waiting.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use store::{DetectionQuery, ImportJob, ImportOutcome, Library, Produced, Select, StoreError};

use crate::app;
use crate::support::{Place, add, import, rows, two_tracks};

#[test]
fn many_may_open_a_new_database_at_once() {
    for place in [Place::new(), app::database("")] {
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            let open = || {
                barrier.wait();
                Library::open(&place.url()).map(|library| library.videos(1, 1).unwrap().total)
            };
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
        assert_eq!(rows(&place.plain(), "SELECT version FROM courtside_schema").len(), 1);
    }
}

#[test]
fn of_two_imports_of_a_job_one_finds_it_done() {
    let place = Place::new();
    add(&mut place.library(), "a.mp4");
    let barrier = Barrier::new(2);
    let outcomes: Vec<ImportOutcome> = thread::scope(|scope| {
        let run = || {
            let mut library = place.library();
            barrier.wait();
            import(&mut library, "job", 1, "a", &two_tracks(5000)).unwrap().outcome
        };
        let importers = [scope.spawn(run), scope.spawn(run)];
        importers.into_iter().map(|importer| importer.join().unwrap()).collect()
    });
    assert!(
        outcomes.contains(&ImportOutcome::Imported) && outcomes.contains(&ImportOutcome::AlreadyImported)
    );
    assert_eq!(place.library().detection_stats(Select::Video(1)).unwrap().total_detections, 10_000);
}

#[test]
fn a_reader_sees_all_of_an_import_or_nothing() {
    let place = Place::new();
    let mut library = place.library();
    add(&mut library, "a.mp4");
    let reader = place.library();
    let count = || reader.detection_totals(1, &DetectionQuery::default()).unwrap().total_detections;
    let report = library.import(&ImportJob::new("job", 1, "a"), |sink| {
        sink.push(&two_tracks(100_000))?;
        assert_eq!(count(), 0);
        Ok::<_, StoreError>(Produced::default())
    });
    assert_eq!(report.unwrap().n_detections, 200_000);
    assert_eq!(count(), 200_000);
}

#[test]
fn a_locked_database_says_who_and_what_to_do() {
    let place = app::database("");
    let mut library = place.library();
    library.set_busy_timeout(Duration::from_millis(10)).unwrap();
    let app = place.plain();
    app.execute_batch("BEGIN IMMEDIATE; UPDATE videos SET processed = 0").unwrap();
    let error = import(&mut library, "job", app::VIDEO, "a", &two_tracks(1)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("library.db") && message.contains("try again"), "{message}");
    // Readers go on, and so does the import once the app is done.
    assert!(library.video(app::VIDEO).unwrap().unwrap().processed);
    app.execute_batch("COMMIT").unwrap();
    import(&mut library, "job", app::VIDEO, "a", &two_tracks(1)).unwrap();
}

#[test]
fn a_database_that_the_app_reads_just_now_opens_all_the_same() {
    let place = app::database("");
    drop(place.library());
    // Not logged ahead, and with a reader in the way of changing that.
    let app = place.plain();
    app.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
    app.execute_batch("BEGIN").unwrap();
    let _: i64 = app.query_row("SELECT count(*) FROM videos", [], |row| row.get(0)).unwrap();
    let library = place.library();
    assert_eq!(library.videos(1, 10).unwrap().total, 1);
}
