//! A process that dies in the middle of an import.

use std::process::Command;

use store::{ImportJob, ImportOutcome, Library, Produced, Select, StoreError};

use crate::support::{Place, add, import, two_tracks};

/// Names the database in which the import below is to die.
const DIE_IN: &str = "COURTSIDE_TEST_DIE_IN";

/// Imports enough that SQLite has written much of it to the disk before the end; dies then if told to.
#[test]
fn import_that_may_die() {
    let doomed = std::env::var(DIE_IN).ok();
    let place = Place::new();
    let mut library = match &doomed {
        Some(url) => Library::open(url).unwrap(),
        None => place.library(),
    };
    if doomed.is_none() {
        add(&mut library, "a.mp4");
    }
    let report = library.import(&ImportJob::new("doomed", 1, "a"), |sink| {
        sink.push(&two_tracks(200_000))?;
        if doomed.is_some() {
            std::process::abort();
        }
        Ok::<_, StoreError>(Produced::default())
    });
    assert_eq!(report.unwrap().n_detections, 400_000);
}

#[test]
fn a_killed_import_leaves_nothing_behind() {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "before", video, "a", &two_tracks(50)).unwrap();
    drop(library);
    let before = place.dump();

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::import_that_may_die", "--nocapture"])
        .env(DIE_IN, place.url())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let log = place.path.with_extension("db-wal");
    assert!(log.metadata().unwrap().len() > 1_000_000, "it died before anything reached the disk");

    assert_eq!(place.dump(), before);
    let mut library = place.library();
    assert_eq!(library.import_of("doomed").unwrap(), None);
    let report = import(&mut library, "doomed", video, "a", &two_tracks(100)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Imported);
    assert_eq!(library.detection_stats(Select::Video(video)).unwrap().total_detections, 300);
}
