//! Tests of faults that need access to the connection.

use rusqlite::{Connection, OpenFlags};

use crate::detections::StoredDetection;
use crate::error::StoreError;
use crate::import::{ImportJob, ResultsSummary};
use crate::jobs::NewJob;
use crate::library::{Access, Library};
use crate::scope::DetectionScope;
use crate::videos::NewVideo;

fn box_at(frame: i64) -> StoredDetection {
    StoredDetection { frame, track_id: 1, bbox: [1.0, 2.0, 3.0, 4.0], confidence: 0.5 }
}

fn import(library: &mut Library, sha256: &str, n: i64) -> Result<i64, StoreError> {
    let report = library.import(&ImportJob::new("job", 1, sha256), |writer| {
        for frame in 0..n {
            writer.push(&[box_at(frame)])?;
        }
        Ok::<_, StoreError>(ResultsSummary::default())
    });
    report.map(|report| report.n_detections)
}

fn count(library: &Library) -> i64 {
    library.detection_stats(DetectionScope::Video(1)).unwrap().total_detections
}

fn foreign_keys(library: &Library) -> bool {
    library.conn.query_row("PRAGMA foreign_keys", [], |row| row.get(0)).unwrap()
}

fn limit_pages(library: &Library, n_more: i64) {
    let n: i64 = library.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    library.conn.query_row(&format!("PRAGMA max_page_count = {}", n + n_more), [], |_| Ok(())).unwrap();
}

#[test]
fn a_full_disk_is_reported_and_existing_rows_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("library.db");
    let mut library = Library::open(path.to_str().unwrap()).unwrap();
    library.add_video(&NewVideo::at("a.mp4")).unwrap();
    import(&mut library, "first", 100).unwrap();

    limit_pages(&library, 20);
    let error = import(&mut library, "second", 1_000_000).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("library.db"), "{error}");
    assert!(library.conn.is_autocommit() && foreign_keys(&library));
    assert_eq!((count(&library), library.import_of("job").unwrap().unwrap().sha256.as_str()), (100, "first"));

    limit_pages(&library, 1_000_000);
    assert_eq!(import(&mut library, "second", 5_000).unwrap(), 5_000);
    assert_eq!(count(&library), 5_000);
}

#[test]
fn a_full_disk_is_reported_for_small_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut library = Library::open(folder.path().join("library.db").to_str().unwrap()).unwrap();
    library.add_video(&NewVideo::at("a.mp4")).unwrap();
    limit_pages(&library, 0);
    let full = (0..10_000).find_map(|n| library.insert_job(&NewJob::new(n.to_string(), 1)).err());
    assert!(matches!(full, Some(StoreError::Full { .. })), "{full:?}");
}

#[test]
fn a_read_only_file_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("library.db");
    drop(Library::open(path.to_str().unwrap()).unwrap());
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let error = Library::prepare(conn, path.clone(), Access::Write).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");

    // Also if it would have to be migrated first.
    let path = folder.path().join("old.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch(
            "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE games (id INTEGER PRIMARY KEY, name);
             CREATE TABLE videos (id INTEGER PRIMARY KEY, game_id, file_path);
             CREATE TABLE player_detections (id INTEGER PRIMARY KEY, video_id, frame_number, bbox_x, bbox_y,
                bbox_width, bbox_height, tracking_id, confidence_score)",
        )
        .unwrap();
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let error = Library::prepare(conn, path, Access::Write).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

#[test]
fn foreign_keys_are_on_again_after_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut library = Library::open(folder.path().join("library.db").to_str().unwrap()).unwrap();
    library.add_video(&NewVideo::at("a.mp4")).unwrap();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        library.import(&ImportJob::new("job", 1, "a"), |writer| -> Result<ResultsSummary, StoreError> {
            writer.push(&[box_at(0)])?;
            panic!("reading the results panicked")
        })
    }));
    assert!(panic.is_err());
    assert!(foreign_keys(&library) && library.conn.is_autocommit());
    assert_eq!((count(&library), library.import_of("job").unwrap()), (0, None));
}

#[test]
fn commits_are_flushed_and_use_the_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path().join("library.db").to_str().unwrap()).unwrap();
    let pragma = |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        library.conn.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!((pragma("journal_mode").as_str(), pragma("synchronous").as_str()), ("wal", "2"));
}
