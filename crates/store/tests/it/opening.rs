//! Which files are opened, and what is said of those that are not.

use std::fs;

use store::{Library, NewVideo, StoreError};

use crate::support::Place;

#[test]
fn every_form_of_the_address_opens_the_same_file() {
    let place = Place::new();
    place.library().add_video(&NewVideo::at("a.mp4")).unwrap();
    let path = place.path.display();
    for url in [
        format!("sqlite:///{path}"),
        format!("sqlite+aiosqlite:///{path}"),
        format!("sqlite:///{path}?check_same_thread=false"),
        path.to_string(),
    ] {
        let library = Library::open(&url).unwrap();
        assert_eq!(library.path(), place.path);
        assert_eq!(library.videos(1, 10).unwrap().total, 1, "{url}");
    }
}

#[test]
fn a_file_that_is_not_there_is_made_only_by_open() {
    let place = Place::new();
    assert!(Library::open_existing(&place.url()).unwrap().is_none());
    assert!(!place.path.exists());
    drop(place.library());
    assert!(Library::open_existing(&place.url()).unwrap().is_some());
}

#[test]
fn a_missing_folder_is_named() {
    let place = Place::new();
    let url = format!("sqlite:///{}/no/such/x.db", place.folder.path().display());
    let error = Library::open(&url).unwrap_err();
    assert!(matches!(&error, StoreError::Open { .. }), "{error}");
    assert!(
        error.to_string().contains("there is no folder") && error.to_string().contains("no/such"),
        "{error}"
    );
    assert!(Library::open_existing(&url).unwrap().is_none());
}

#[test]
fn a_folder_is_not_a_database() {
    let place = Place::new();
    let error = Library::open(place.folder.path().to_str().unwrap()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_was() {
    let place = Place::new();
    let content = b"frame,track_id\n".repeat(500);
    fs::write(&place.path, &content).unwrap();
    let error = Library::open(&place.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("not a SQLite")),
        "{error}"
    );
    assert_eq!(fs::read(&place.path).unwrap(), content);
}

#[test]
fn another_programs_database_is_left_as_it_was() {
    let place = Place::new();
    place
        .plain()
        .execute_batch("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('x')")
        .unwrap();
    let before = fs::read(&place.path).unwrap();
    let error = Library::open(&place.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("bookmarks")),
        "{error}"
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_table_that_only_has_the_name_is_refused() {
    let place = Place::new();
    place.plain().execute_batch("CREATE TABLE videos (id INTEGER PRIMARY KEY, title TEXT)").unwrap();
    let before = fs::read(&place.path).unwrap();
    let error = Library::open(&place.url()).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("game_id")),
        "{error}"
    );
    assert_eq!(fs::read(&place.path).unwrap(), before);
}

#[test]
fn a_newer_schema_is_refused_untouched() {
    let place = Place::new();
    drop(place.library());
    place
        .plain()
        .execute_batch("UPDATE courtside_schema SET version = 99; ALTER TABLE videos DROP COLUMN sha256")
        .unwrap();
    let before = place.dump();
    let error = Library::open(&place.url()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("update courtside"), "{error}");
    assert_eq!(place.dump(), before);
}

#[test]
fn a_damaged_file_is_named() {
    let place = Place::new();
    let mut library = place.library();
    for n in 0..200 {
        library.add_video(&NewVideo::at(format!("{n}-{}.mp4", "x".repeat(300)))).unwrap();
    }
    drop(library);
    let mut content = fs::read(&place.path).unwrap();
    let n_bytes = content.len();
    content[n_bytes / 2..].fill(0x5a);
    fs::write(&place.path, content).unwrap();
    let error = place.library().videos(1, 1000).unwrap_err();
    assert!(
        matches!(&error, StoreError::NotALibrary { detail, .. } if detail.contains("damaged")),
        "{error}"
    );
}

#[test]
fn a_library_may_move_between_threads() {
    fn moves<T: Send>() {}
    moves::<Library>();
}
