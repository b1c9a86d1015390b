//! A process that is killed during an import.

use std::process::Command;

use store::{DetectionScope, ImportJob, ImportOutcome, Library, ResultsSummary, StoreError};

use crate::support::{TestDb, add, import, rows, two_tracks};

/// Environment variable with the URL of the database whose import aborts the process.
const ABORT_IN: &str = "COURTSIDE_TEST_ABORT_IN";

/// Imports enough rows for several transactions. If [`ABORT_IN`] is set, a thread aborts the process after the first.
#[test]
fn import_that_may_abort() {
    let aborted = std::env::var(ABORT_IN).ok();
    let db = TestDb::new();
    let mut library = match &aborted {
        Some(url) => Library::open(url).unwrap(),
        None => db.library(),
    };
    if aborted.is_none() {
        add(&mut library, "a.mp4");
    }
    if let Some(url) = aborted {
        std::thread::spawn(move || {
            let conn = rusqlite::Connection::open(url.trim_start_matches("sqlite:///")).unwrap();
            loop {
                if rows(&conn, "SELECT count(*) > 1000 FROM player_detections") == [[1.into()]] {
                    std::process::abort();
                }
            }
        });
    }
    let report = library.import(&ImportJob::new("aborted", 1, "a"), |writer| {
        writer.push(&two_tracks(200_000))?;
        Ok::<_, StoreError>(ResultsSummary::default())
    });
    assert_eq!(report.unwrap().n_detections, 400_000);
}

#[test]
fn a_killed_import_leaves_nothing_visible_and_the_next_one_removes_its_rows() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "before", video, "a", &two_tracks(50)).unwrap();
    drop(library);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::import_that_may_abort", "--nocapture"])
        .env(ABORT_IN, db.url())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let n_rows = || -> i64 {
        db.plain().query_row("SELECT count(*) FROM player_detections", [], |row| row.get(0)).unwrap()
    };
    assert!(n_rows() > 1000, "it was aborted before it wrote");

    let mut library = db.library();
    let n_visible =
        |library: &Library| library.detection_stats(DetectionScope::Video(video)).unwrap().total_detections;
    assert_eq!((library.import_of("aborted").unwrap(), n_visible(&library)), (None, 100));
    let report = import(&mut library, "aborted", video, "a", &two_tracks(100)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Imported);
    assert_eq!((n_rows(), n_visible(&library)), (300, 200));
}
