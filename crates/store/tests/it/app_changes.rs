//! What is shown after the analyzer app has deleted or changed some rows of an import.

use rusqlite::types::Value;
use store::{DetectionQuery, DetectionScope, ImportOutcome, Library};

use crate::app::{self, VIDEO};
use crate::support::{TestDb, import, rows, two_tracks};

const JOB: DetectionScope<'_> = DetectionScope::Job("job");

/// A database of the app with 200 rows of a job: two tracks on 100 frames.
fn imported() -> (TestDb, Library) {
    let db = app::database("");
    let mut library = db.library();
    import(&mut library, "job", VIDEO, "a", &two_tracks(100)).unwrap();
    (db, library)
}

/// Rows, frames with detections, and the number of rows of each track, as the library shows them.
fn shown(library: &Library) -> (i64, i64, Vec<(i64, i64)>) {
    let totals = library.detection_totals(JOB).unwrap();
    let stats = library.detection_stats(JOB).unwrap();
    assert_eq!(stats.total_detections, totals.total_detections);
    assert_eq!(stats.frames_with_detections, totals.frames_with_detections);
    let tracks = library.track_summaries(JOB).unwrap();
    let tracks = tracks.iter().map(|track| (track.track_id, track.n_detections)).collect();
    let n_listed = library.detections(JOB, &DetectionQuery::default()).unwrap().len() as i64;
    assert_eq!(totals.total_detections, n_listed);
    (totals.total_detections, totals.frames_with_detections, tracks)
}

#[test]
fn totals_and_tracks_follow_what_the_app_deletes_and_changes() {
    let last = "(SELECT max(id) FROM player_detections)";
    for (what, sql, left) in [
        ("nothing", "SELECT 1".to_owned(), (200, 100, vec![(1, 100), (2, 100)])),
        ("a track", "DELETE FROM player_detections WHERE tracking_id = 2".into(), (100, 100, vec![(1, 100)])),
        ("frames", "DELETE FROM player_detections WHERE frame_number >= 90".into(), (180, 90, vec![(1, 90), (2, 90)])),
        ("one row in the middle", format!("DELETE FROM player_detections WHERE id = {last} - 100"), (199, 100, vec![(1, 100), (2, 99)])),
        ("the last row", format!("DELETE FROM player_detections WHERE id = {last}"), (199, 100, vec![(1, 100), (2, 99)])),
        ("tracks joined", "UPDATE player_detections SET tracking_id = 1 WHERE tracking_id = 2".into(), (200, 100, vec![(1, 200)])),
        (
            "tracks exchanged on the first frames, one of them split off",
            "UPDATE player_detections SET tracking_id = CASE WHEN frame_number < 5 AND tracking_id = 2 THEN 9 ELSE 3 - tracking_id END
             WHERE frame_number < 10 AND tracking_id < 3".into(),
            (200, 100, vec![(1, 95), (2, 100), (9, 5)]),
        ),
    ] {
        let (db, library) = imported();
        assert_eq!(shown(&library), (200, 100, vec![(1, 100), (2, 100)]));
        db.plain().execute_batch(&sql).unwrap();
        assert_eq!(shown(&library), left, "{what}, on the open connection");
        assert_eq!(shown(&db.library()), left, "{what}, on another one");
        assert_eq!(library.has_all_rows("job").unwrap(), left.0 == 200, "{what}");
    }
}

#[test]
fn tracks_that_exchange_their_rows_have_their_own_means_and_frames() {
    let (db, library) = imported();
    let app = db.plain();
    app.execute("UPDATE player_detections SET confidence_score = 1.0 WHERE tracking_id = 2", []).unwrap();
    let mean = |track: usize| library.track_summaries(JOB).unwrap()[track - 1].mean_confidence;
    assert_eq!((mean(1), mean(2)), (0.5, 1.0));
    // Number, sum of tracks and sum of frames stay the same.
    app.execute("UPDATE player_detections SET tracking_id = 3 - tracking_id WHERE frame_number >= 50", [])
        .unwrap();
    assert_eq!((mean(1), mean(2)), (0.75, 0.75));
}

#[test]
fn an_import_whose_first_or_last_box_was_edited_is_still_shown() {
    for which in ["min", "max"] {
        let (db, library) = imported();
        let sql = format!(
            "UPDATE player_detections SET bbox_x = bbox_x + 5 WHERE id =
                (SELECT {which}(id) FROM player_detections WHERE tracking_id < 3)"
        );
        assert_eq!(db.plain().execute(&sql, []).unwrap(), 1);
        assert_eq!(shown(&library).0, 200, "{which}");
        assert!(library.has_all_rows("job").unwrap());
        // They are also removed with the job.
        assert_eq!(db.library().remove_job("job", false).unwrap().n_detections, 200);
        assert_eq!(rows(&db.plain(), "SELECT count(*) FROM player_detections"), [[Value::Integer(2)]]);
    }
}

#[test]
fn imports_that_lost_rows_are_named_until_they_are_imported_again() {
    let (db, mut library) = imported();
    import(&mut library, "complete", VIDEO, "b", &two_tracks(10)).unwrap();
    assert_eq!(library.incomplete_imports().unwrap(), []);
    let sql = "DELETE FROM player_detections WHERE tracking_id = 2 AND frame_number > 50";
    assert_eq!(db.plain().execute(sql, []).unwrap(), 49);
    let incomplete = library.incomplete_imports().unwrap();
    let named = incomplete.iter().map(|it| (it.import.job_id.as_str(), it.import.n_detections, it.n_left));
    assert_eq!(named.collect::<Vec<_>>(), [("job", 200, 151)]);
    let report = import(&mut library, "job", VIDEO, "a", &two_tracks(100)).unwrap();
    assert_eq!(report.outcome, ImportOutcome::Replaced { n_removed: 151 });
    assert_eq!(library.incomplete_imports().unwrap(), []);
    assert_eq!(shown(&library), (200, 100, vec![(1, 100), (2, 100)]));
}

#[test]
fn rows_that_reuse_the_last_ids_of_an_import_are_not_removed_with_it() {
    let (db, mut library) = imported();
    // The next rows get the ids of the last ten.
    let sql = "DELETE FROM player_detections WHERE id > (SELECT max(id) - 10 FROM player_detections)";
    assert_eq!(db.plain().execute(sql, []).unwrap(), 10);
    let report = import(&mut library, "next", VIDEO, "b", &two_tracks(50)).unwrap();
    assert_eq!(report.n_detections, 100);
    assert_eq!(shown(&library).0, 190);
    assert_eq!(library.remove_job("job", false).unwrap().n_detections, 190);
    assert!(library.has_all_rows("next").unwrap());
    assert_eq!(library.detection_totals(DetectionScope::Job("next")).unwrap().total_detections, 100);
}

#[test]
fn a_row_with_an_unknown_status_type_time_or_document_does_not_hide_the_others() {
    let db = app::database("");
    let app = db.plain();
    app::inserts(&app);
    app.execute_batch(
        "INSERT INTO processing_jobs SELECT 'paused', job_type, 'PAUSED', video_id, parameters, 1, 2, '', NULL, NULL,
            created_at, NULL, NULL, NULL FROM processing_jobs WHERE id = 'apps';
         INSERT INTO processing_jobs SELECT 'exported', 'EXPORT', status, video_id, parameters, 1, 2, '', NULL, NULL,
            created_at, NULL, NULL, NULL FROM processing_jobs WHERE id = 'apps';
         UPDATE processing_jobs SET parameters = '{', created_at = 'soon', result = x'00ff', progress_current = 'half'
            WHERE id = 'apps';
         UPDATE videos SET processing_status = 'ARCHIVED', upload_date = 1714588205, processed = 'yes', fps = 'slow'
            WHERE id = 4;
         UPDATE games SET date = 'in May', created_at = '0000-00-00 00:00:00'",
    )
    .unwrap();
    let library = db.library();
    let jobs = library.jobs(&store::JobFilter::default()).unwrap();
    assert_eq!(jobs.len(), 3, "{jobs:?}");
    let apps = jobs.iter().find(|job| job.id == "apps").unwrap();
    assert_eq!((apps.status, &apps.parameters, apps.created_at), (store::JobStatus::Pending, &None, None));
    let unreadable = [
        "parameters is \"{\"",
        "progress_current is \"half\"",
        "result is 2 bytes",
        "created_at is \"soon\"",
    ];
    assert_eq!(apps.unreadable.len(), 4, "{apps:?}");
    for value in unreadable {
        assert!(apps.unreadable.iter().any(|noted| noted.starts_with(value)), "{value}: {apps:?}");
    }
    assert_eq!(library.skipped_jobs().unwrap(), ["job paused: status is \"PAUSED\", which is not known"]);
    assert!(library.job("paused").unwrap_err().to_string().contains("PAUSED"));
    assert_eq!(library.job("exported").unwrap(), None);

    let videos = library.videos(store::VideoFilter::default(), 1, 10).unwrap();
    assert_eq!(videos.items.len(), 2);
    let video = library.video(VIDEO).unwrap().unwrap();
    assert_eq!((video.upload_date, video.fps, video.file_path.as_str()), (None, None, "videos/finals.mp4"));
    assert_eq!(video.unreadable.len(), 4, "{video:?}");
    let games = library.games().unwrap();
    assert_eq!((games.len(), games[0].date, games[0].unreadable.len()), (1, None, 2));

    // What cannot be read is not written either.
    let update = store::JobUpdate { progress_message: Some("x".into()), ..store::JobUpdate::default() };
    library.update_job("apps", &update).unwrap();
    let kept = rows(&app, "SELECT parameters, created_at FROM processing_jobs WHERE id = 'apps'");
    assert_eq!(kept, [["{", "soon"].map(|text| Value::Text(text.into()))]);
}
