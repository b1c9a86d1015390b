//! A new database: its tables, videos and games.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rusqlite::types::Value;
use store::{FileFingerprint, NewJob, NewVideo, ProcessingStatus, RemovalReport, StoreError, VideoFilter};
use time::OffsetDateTime;

use crate::support::{TestDb, add, import, rows, text, two_tracks};

#[test]
fn has_the_tables_of_the_app() {
    let db = TestDb::new();
    drop(db.library());
    let conn = db.plain();
    let columns = |table: &str| -> Vec<String> {
        rows(&conn, &format!("SELECT name FROM pragma_table_info('{table}')"))
            .iter()
            .map(|row| text(&row[0]))
            .collect()
    };
    let has = |table: &str, names: &str| {
        let there = columns(table);
        for name in names.split_whitespace() {
            assert!(there.iter().any(|column| column == name), "{table} lacks {name}");
        }
    };
    has("games", "id name date location home_team away_team created_at updated_at");
    has(
        "videos",
        "id game_id file_path r2_key thumbnail_path duration_seconds fps resolution upload_date processed \
         processing_status recorded_at sequence_order game_time_offset",
    );
    has(
        "player_detections",
        "id video_id frame_number player_id bbox_x bbox_y bbox_width bbox_height tracking_id confidence_score",
    );
    has(
        "processing_jobs",
        "id job_type status video_id parameters progress_current progress_total progress_message result error_message \
         created_at started_at completed_at worker_id target r2_video_key",
    );
    assert!(columns("alembic_version").is_empty());
    let indexed = rows(
        &conn,
        "SELECT group_concat(c.name) FROM pragma_index_list('player_detections') AS i, pragma_index_info(i.name) AS c
         GROUP BY i.name ORDER BY 1",
    );
    let indexed: Vec<String> = indexed.iter().map(|row| text(&row[0])).collect();
    assert_eq!(indexed, ["tracking_id", "video_id,frame_number"]);
}

#[test]
fn a_video_without_a_game_gets_one_named_after_its_file() {
    let db = TestDb::new();
    let mut library = db.library();
    let recorded_at = OffsetDateTime::from_unix_timestamp(1_714_588_205).unwrap();
    let new = NewVideo {
        duration_seconds: Some(3600.5),
        fps: Some(29.97),
        resolution: Some((1920, 1080)),
        recorded_at: Some(recorded_at),
        n_frames: Some(107_892),
        file: FileFingerprint {
            size_bytes: Some(1 << 40),
            modified_ns: Some(1_714_588_205_123_456_789),
            sha256: None,
        },
        ..NewVideo::at("games/Final 2024.mp4")
    };
    let video = library.add_video(&new).unwrap();
    assert_eq!(library.video(video.id).unwrap().as_ref(), Some(&video));
    assert_eq!(library.video_by_path("games/Final 2024.mp4").unwrap().as_ref(), Some(&video));
    assert_eq!(library.video_by_path("games/final 2024.mp4").unwrap(), None);
    assert_eq!((video.resolution.as_deref(), video.recorded_at), (Some("1920x1080"), Some(recorded_at)));
    assert_eq!((video.processed, video.processing_status), (false, ProcessingStatus::Pending));
    assert_eq!((video.n_frames, &video.file), (new.n_frames, &new.file));

    let games = rows(&db.plain(), "SELECT name, date, home_team, away_team, location FROM games");
    assert_eq!(games.len(), 1);
    let [name, date, home, away, location] = &games[0][..] else { panic!("{games:?}") };
    assert_eq!((text(name), text(date)), ("Final 2024".into(), "2024-05-01".into()));
    assert_eq!((text(home), text(away), location), ("Home".into(), "Away".into(), &Value::Null));

    let second =
        library.add_video(&NewVideo { game_id: Some(video.game_id), ..NewVideo::at("b.mp4") }).unwrap();
    assert_eq!(second.game_id, video.game_id);
    let unknown = library.add_video(&NewVideo { game_id: Some(77), ..NewVideo::at("c.mp4") });
    assert!(matches!(unknown, Err(StoreError::Conflict(_))), "{unknown:?}");
}

#[test]
fn times_are_stored_in_the_format_of_the_app() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "done", video, "a", &two_tracks(1)).unwrap();
    let times = rows(
        &db.plain(),
        "SELECT created_at FROM games UNION ALL SELECT updated_at FROM games UNION ALL SELECT upload_date FROM videos
         UNION ALL SELECT created_at FROM processing_jobs UNION ALL SELECT completed_at FROM processing_jobs
            WHERE completed_at IS NOT NULL",
    );
    assert_eq!(times.len(), 5);
    for time in times.iter().map(|row| text(&row[0])) {
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00 00:00:00.000000", "{time}");
    }
}

#[test]
fn paths_are_stored_as_given_or_rejected() {
    let db = TestDb::new();
    let mut library = db.library();
    let longest = format!("{}.mp4", "ü".repeat(496));
    assert_eq!(library.add_video(&NewVideo::at(&longest)).unwrap().file_path, longest);
    for bad in [Path::new(&format!("x{longest}")), Path::new(""), Path::new(OsStr::from_bytes(b"a\xff.mp4"))]
    {
        let error = library.add_video(&NewVideo::at(bad)).unwrap_err();
        assert!(matches!(error, StoreError::BadInput(_)), "{error}");
    }
    assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total, 1);
    let long_key = "k".repeat(501);
    assert!(matches!(library.set_video_r2_key(1, Some(&long_key)), Err(StoreError::BadInput(_))));
}

#[test]
fn videos_are_paged_newest_first() {
    let db = TestDb::new();
    let mut library = db.library();
    assert_eq!(library.videos(VideoFilter::default(), 1, 10).unwrap().total_pages, 0);
    let ids: Vec<i64> = (0..5).map(|n| add(&mut library, &format!("{n}.mp4"))).collect();
    let page = |n| {
        library
            .videos(VideoFilter::default(), n, 2)
            .unwrap()
            .items
            .iter()
            .map(|video| video.id)
            .collect::<Vec<_>>()
    };
    assert_eq!((page(1), page(2), page(3)), (vec![ids[4], ids[3]], vec![ids[2], ids[1]], vec![ids[0]]));
    assert_eq!((page(4), page(i64::MAX)), (vec![], vec![]));
    let first = library.videos(VideoFilter::default(), 1, 2).unwrap();
    assert_eq!((first.total, first.total_pages, first.page, first.page_size), (5, 3, 1, 2));
    assert!(matches!(library.videos(VideoFilter::default(), 0, 2), Err(StoreError::BadInput(_))));
    assert!(matches!(library.videos(VideoFilter::default(), 1, 0), Err(StoreError::BadInput(_))));
}

#[test]
fn updates_of_a_video_are_read_back() {
    let db = TestDb::new();
    let mut library = db.library();
    let id = add(&mut library, "a.mp4");
    let file = FileFingerprint { size_bytes: Some(7), modified_ns: Some(8), sha256: Some("ab".into()) };
    library.set_video_r2_key(id, Some("videos/x.mp4")).unwrap();
    library.set_video_fingerprint(id, Some(9), &file).unwrap();
    library.set_processing_status(id, ProcessingStatus::Completed).unwrap();
    library.set_processing_status(id, ProcessingStatus::Failed).unwrap();
    let video = library.video(id).unwrap().unwrap();
    assert_eq!(
        (video.r2_key.as_deref(), video.n_frames, &video.file),
        (Some("videos/x.mp4"), Some(9), &file)
    );
    // A failed job does not remove the detections of a completed one.
    assert_eq!((video.processed, video.processing_status), (true, ProcessingStatus::Failed));
    library.set_video_r2_key(id, None).unwrap();
    assert_eq!(library.video(id).unwrap().unwrap().r2_key, None);
    for unknown in [
        library.set_video_r2_key(99, None),
        library.set_video_fingerprint(99, None, &file),
        library.set_processing_status(99, ProcessingStatus::Failed),
    ] {
        assert!(matches!(unknown, Err(StoreError::UnknownVideo(99))), "{unknown:?}");
    }
}

#[test]
fn removing_a_video_removes_the_game_that_was_made_for_it() {
    let db = TestDb::new();
    let mut library = db.library();
    let (alone, edited, shared) =
        (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"), add(&mut library, "c.mp4"));
    let game_of = |library: &store::Library, id| library.video(id).unwrap().unwrap().game_id;
    let (edited_game, shared_game) = (game_of(&library, edited), game_of(&library, shared));
    let connection = rusqlite::Connection::open(library.path()).unwrap();
    connection
        .execute(
            "UPDATE games SET home_team = 'Reds', updated_at = '2031-01-01' WHERE id = ?1",
            [edited_game],
        )
        .unwrap();
    let second =
        library.add_video(&NewVideo { game_id: Some(shared_game), ..NewVideo::at("d.mp4") }).unwrap().id;
    for id in [alone, edited, shared, second] {
        library.remove_video(id, false).unwrap();
    }
    let left: Vec<i64> = library.games().unwrap().iter().map(|game| game.id).collect();
    assert_eq!(BTreeSet::from_iter(left), BTreeSet::from([edited_game, shared_game]));
}

#[test]
fn removing_a_video_removes_its_jobs_and_detections() {
    let db = TestDb::new();
    let mut library = db.library();
    let (a, b) = (add(&mut library, "a.mp4"), add(&mut library, "b.mp4"));
    import(&mut library, "job-a", a, "1", &two_tracks(10)).unwrap();
    import(&mut library, "job-b", b, "1", &two_tracks(3)).unwrap();
    library.insert_job(&NewJob::new("open", a)).unwrap();
    let refused = library.remove_video(a, false).unwrap_err();
    assert!(matches!(&refused, StoreError::Conflict(text) if text.contains("open")), "{refused}");
    assert_eq!(library.remove_video(a, true).unwrap(), RemovalReport { n_detections: 20, n_jobs: 2 });
    assert!(matches!(library.remove_video(a, true), Err(StoreError::UnknownVideo(_))));
    let left = rows(&db.plain(), "SELECT count(*), min(video_id) FROM player_detections");
    assert_eq!(left[0], [Value::Integer(6), Value::Integer(b)]);
    assert_eq!(rows(&db.plain(), "SELECT job_id FROM courtside_imports").len(), 1);
    // When added again, it gets the same game.
    let again = add(&mut library, "a.mp4");
    assert_eq!(rows(&db.plain(), "SELECT id FROM games").len(), 2);
    assert_eq!(library.detection_stats(store::DetectionScope::Video(again)).unwrap().total_detections, 0);
}

#[test]
fn removing_a_job_removes_only_its_detections() {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    import(&mut library, "one", video, "1", &two_tracks(10)).unwrap();
    import(&mut library, "two", video, "2", &two_tracks(4)).unwrap();
    assert_eq!(library.remove_job("one", false).unwrap(), RemovalReport { n_detections: 20, n_jobs: 1 });
    assert!(library.video(video).unwrap().unwrap().processed);
    assert_eq!(library.remove_job("two", false).unwrap(), RemovalReport { n_detections: 8, n_jobs: 1 });
    let left = library.video(video).unwrap().unwrap();
    assert_eq!((left.processed, left.processing_status), (false, ProcessingStatus::Pending));
    assert!(matches!(library.remove_job("two", false), Err(StoreError::UnknownJob(_))));
    library.insert_job(&NewJob::new("open", video)).unwrap();
    assert!(matches!(library.remove_job("open", false), Err(StoreError::Conflict(_))));
    assert_eq!(library.remove_job("open", true).unwrap(), RemovalReport { n_detections: 0, n_jobs: 1 });
}
