//! Libraries that are opened to be read: nothing changes in a database of the app, and no one waits for a writer.

use std::fs;
use std::time::Duration;

use store::{
    DetectionScope, FileFingerprint, JobFilter, JobStatus, JobUpdate, Library, StoreError, VideoFilter,
};

use crate::app::{self, JOB, VIDEO};
use crate::support::{TestDb, import, rows, two_tracks};

fn open(db: &TestDb) -> Library {
    Library::open_existing(&db.url()).unwrap().unwrap()
}

fn names(db: &TestDb) -> Vec<String> {
    let entries = fs::read_dir(db.folder.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn look(library: &Library) {
    assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total, 1);
    assert_eq!(library.jobs(&JobFilter::default()).unwrap().len(), 2);
    assert_eq!(library.job(JOB).unwrap().unwrap().status, JobStatus::Completed);
    assert_eq!(library.detection_totals(DetectionScope::Video(VIDEO)).unwrap().total_detections, 2);
    assert_eq!(library.track_summaries(DetectionScope::Video(VIDEO)).unwrap().len(), 1);
    assert_eq!(library.incomplete_imports().unwrap(), []);
    assert_eq!(library.setting("library_id").unwrap(), None);
    assert_eq!(library.games().unwrap().len(), 1);
}

#[test]
fn looking_at_a_database_of_the_app_changes_no_byte_and_leaves_no_file() {
    for mode in ["DELETE", "WAL"] {
        let db = app::database("");
        let app = db.plain();
        app.execute_batch(&format!("PRAGMA journal_mode = {mode}")).unwrap();
        drop(app);
        let before = fs::read(&db.path).unwrap();
        let mut library = open(&db);
        look(&library);
        library
            .snapshot(|library| {
                look(library);
                Ok::<_, StoreError>(())
            })
            .unwrap();
        assert!(!library.is_set_up().unwrap());
        assert!(library.is_current().unwrap());
        drop(library);
        assert!(fs::read(&db.path).unwrap() == before, "{mode}");
        assert_eq!(names(&db), ["library.db"], "{mode}");
    }
}

#[test]
fn an_empty_file_is_read_as_an_empty_library_and_stays_empty() {
    let db = TestDb::new();
    fs::write(&db.path, "").unwrap();
    let library = open(&db);
    assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total, 0);
    assert_eq!(library.jobs(&JobFilter::default()).unwrap(), []);
    drop(library);
    assert_eq!((fs::read(&db.path).unwrap().len(), names(&db)), (0, vec!["library.db".to_owned()]));
}

#[test]
fn the_first_write_adds_courtsides_tables() {
    let writes: [fn(&mut Library); 4] = [
        |library| library.set_setting("a", "b").unwrap(),
        |library| {
            let file = FileFingerprint { size_bytes: Some(5), ..FileFingerprint::default() };
            library.set_video_fingerprint(VIDEO, Some(7), &file).unwrap();
        },
        |library| {
            import(library, "job", VIDEO, "a", &two_tracks(3)).unwrap();
        },
        |library| {
            library.remove_job(JOB, false).unwrap();
        },
    ];
    for write in writes {
        let db = app::database("");
        let mut library = open(&db);
        look(&library);
        write(&mut library);
        assert!(library.is_set_up().unwrap() && library.is_current().unwrap());
        let read = |library: &Library| {
            (
                library.setting("a").unwrap(),
                library.video(VIDEO).unwrap().unwrap(),
                library.jobs(&JobFilter::default()).unwrap(),
                library.imports(VIDEO).unwrap(),
            )
        };
        assert_eq!(read(&library), read(&db.library()));
        assert_eq!(rows(&db.plain(), "SELECT 1 FROM courtside_schema").len(), 1);
    }
}

#[test]
fn tables_that_another_program_adds_are_seen() {
    let db = app::database("");
    let library = open(&db);
    look(&library);
    db.library().set_setting("a", "b").unwrap();
    assert!(!library.is_current().unwrap());
    assert!(library.is_set_up().unwrap() && library.is_current().unwrap());
    assert_eq!(library.setting("a").unwrap().as_deref(), Some("b"));
}

#[test]
fn files_that_cannot_be_used_are_rejected_when_they_are_only_read() {
    let db = TestDb::new();
    db.plain().execute_batch("CREATE TABLE notes (text)").unwrap();
    let error = Library::open_existing(&db.url()).unwrap_err();
    assert!(matches!(error, StoreError::NotALibrary { .. }), "{error}");
}

#[test]
fn a_library_is_opened_and_read_while_another_program_writes() {
    for add in [|_: &TestDb| {}, |db: &TestDb| drop(db.library())] {
        let db = app::database("");
        add(&db);
        let app = db.plain();
        app.execute_batch("BEGIN IMMEDIATE; UPDATE videos SET fps = 24").unwrap();
        // A wait would not end: the transaction stays open.
        let mut library = open(&db);
        library.set_busy_timeout(Duration::from_secs(3600)).unwrap();
        look(&library);
        let update = JobUpdate { progress_current: Some(7), ..JobUpdate::default() };
        let busy = library.without_waiting(|library| library.update_job(JOB, &update));
        assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
        app.execute_batch("COMMIT").unwrap();
        library.without_waiting(|library| library.update_job(JOB, &update)).unwrap();
        assert_eq!(library.job(JOB).unwrap().unwrap().progress_current, 7);
    }
}
