//! Which files can be opened, and the errors for those that cannot.

use std::fs;

use store::{Library, NewVideo, StoreError, VideoFilter};

use crate::support::TestDb;

#[test]
fn all_forms_of_the_url_open_the_same_file() {
    let db = TestDb::new();
    db.library().add_video(&NewVideo::at("a.mp4")).unwrap();
    let path = db.path.display();
    for url in [
        format!("sqlite:///{path}"),
        format!("sqlite+aiosqlite:///{path}"),
        format!("sqlite:///{path}?check_same_thread=false"),
        path.to_string(),
    ] {
        let library = Library::open(&url).unwrap();
        assert_eq!(library.path(), db.path);
        assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total, 1, "{url}");
    }
}

#[test]
fn only_open_creates_a_missing_file() {
    let db = TestDb::new();
    assert!(Library::open_existing(&db.url()).unwrap().is_none());
    assert!(!db.path.exists());
    drop(db.library());
    assert!(Library::open_existing(&db.url()).unwrap().is_some());
}

#[test]
fn error_names_a_missing_folder() {
    let db = TestDb::new();
    let url = format!("sqlite:///{}/no/such/x.db", db.folder.path().display());
    let error = Library::open(&url).unwrap_err();
    assert!(matches!(&error, StoreError::Open { .. }), "{error}");
    assert!(error.to_string().contains("does not exist") && error.to_string().contains("no/such"), "{error}");
    assert!(Library::open_existing(&url).unwrap().is_none());
}

#[test]
fn a_folder_is_not_a_database() {
    let db = TestDb::new();
    let error = Library::open(db.folder.path().to_str().unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_file_that_is_not_a_database_is_unchanged() {
    let db = TestDb::new();
    let content = b"frame,track_id\n".repeat(500);
    fs::write(&db.path, &content).unwrap();
    let error = Library::open(&db.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("not a SQLite")),
        "{error}"
    );
    assert_eq!(fs::read(&db.path).unwrap(), content);
}

#[test]
fn the_database_of_another_program_is_unchanged() {
    let db = TestDb::new();
    db.plain()
        .execute_batch("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')")
        .unwrap();
    let before = fs::read(&db.path).unwrap();
    let error = Library::open(&db.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("bookmarks")),
        "{error}"
    );
    assert_eq!(fs::read(&db.path).unwrap(), before);
}

#[test]
fn a_table_without_essential_columns_is_rejected() {
    let db = TestDb::new();
    db.plain().execute_batch("CREATE TABLE videos (id INTEGER PRIMARY KEY, title TEXT)").unwrap();
    let before = fs::read(&db.path).unwrap();
    let error = Library::open(&db.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("game_id")),
        "{error}"
    );
    assert_eq!(fs::read(&db.path).unwrap(), before);
}

#[test]
fn a_newer_schema_is_rejected_and_unchanged() {
    let db = TestDb::new();
    drop(db.library());
    db.plain()
        .execute_batch(
            "UPDATE courtside_schema SET version = 99; ALTER TABLE courtside_videos DROP COLUMN sha256",
        )
        .unwrap();
    let before = db.dump();
    let error = Library::open(&db.url()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: 3, .. }), "{error}");
    assert!(error.to_string().contains("update courtside"), "{error}");
    assert_eq!(db.dump(), before);
}

#[test]
fn a_damaged_file_is_reported() {
    let db = TestDb::new();
    let mut library = db.library();
    for n in 0..200 {
        library.add_video(&NewVideo::at(format!("{n}-{}.mp4", "x".repeat(300)))).unwrap();
    }
    drop(library);
    let mut content = fs::read(&db.path).unwrap();
    let n_bytes = content.len();
    content[n_bytes / 2..].fill(0x5a);
    fs::write(&db.path, content).unwrap();
    let listed = Library::open(&db.url()).and_then(|library| library.videos(VideoFilter::default(), 1, 1000));
    let error = listed.unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("damaged")),
        "{error}"
    );
}

#[test]
fn a_library_can_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Library>();
}
