//! A process that is killed during an import.

use std::process::Command;

use store::{DetectionScope, ImportJob, ImportOutcome, Library, ResultsSummary, StoreError};

use crate::support::{TestDb, add, import, two_tracks};

/// Environment variable with the URL of the database whose import aborts the process.
const ABORT_IN: &str = "COURTSIDE_TEST_ABORT_IN";

/// Imports enough rows that SQLite writes to disk before the commit. Aborts then if [`ABORT_IN`] is set.
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
    let report = library.import(&ImportJob::new("aborted", 1, "a"), |writer| {
        writer.push(&two_tracks(200_000))?;
        if aborted.is_some() {
            std::process::abort();
        }
        Ok::<_, StoreError>(ResultsSummary::default())
    });
    assert_eq!(report.unwrap().n_detections, 400_000);
}

#[test]
fn a_killed_import_leaves_no_rows() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "before", video, "a", &two_tracks(50)).unwrap();
    drop(library);
    let before = db.dump();

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::import_that_may_abort", "--nocapture"])
        .env(ABORT_IN, db.url())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let log = db.path.with_extension("db-wal");
    assert!(log.metadata().unwrap().len() > 1_000_000, "it aborted before it wrote to disk");

    assert_eq!(db.dump(), before);
    let mut library = db.library();
    assert_eq!(library.import_of("aborted").unwrap(), None);
    let report = import(&mut library, "aborted", video, "a", &two_tracks(100)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Imported);
    assert_eq!(library.detection_stats(DetectionScope::Video(video)).unwrap().total_detections, 300);
}
