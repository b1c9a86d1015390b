//! Lists, totals, streams and statistics of detections.

use std::ops::ControlFlow;

use store::{
    DetectionQuery, DetectionScope, DetectionStats, DetectionTotals, Library, StoredDetection, TrackSummary,
};

use crate::support::{TestDb, add, detection, import};

/// A library with a video of two jobs: the first has tracks 1 and 2 on frames 0, 2, 4, 6 and 8, imported
/// in reverse order, and the second has track 1 on frame 4.
fn library() -> (TestDb, Library, i64) {
    let db = TestDb::new();
    let mut library = db.library();
    let video = add(&mut library, "a.mp4");
    add(&mut library, "empty.mp4");
    let backwards: Vec<StoredDetection> = (0..5)
        .rev()
        .flat_map(|n| {
            [2, 1].map(|track| StoredDetection { confidence: 0.1 * n as f64, ..detection(2 * n, track) })
        })
        .collect();
    import(&mut library, "one", video, "a", &backwards).unwrap();
    import(&mut library, "two", video, "a", &[detection(4, 1)]).unwrap();
    (db, library, video)
}

fn found(library: &Library, scope: DetectionScope<'_>, query: &DetectionQuery) -> Vec<(i64, i64)> {
    let rows = library.detections(scope, query).unwrap();
    rows.iter().map(|row| (row.detection.frame, row.detection.track_id)).collect()
}

#[test]
fn detections_are_listed_by_frame_then_track() {
    let (_db, library, _) = library();
    let all = found(&library, DetectionScope::Job("one"), &DetectionQuery::default());
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted());
    assert_eq!(found(&library, DetectionScope::Video(99), &DetectionQuery::default()), []);
}

#[test]
fn a_video_that_was_tracked_twice_has_the_detections_of_the_latest_job() {
    let (db, mut library, video) = library();
    let scope = DetectionScope::Video(video);
    assert_eq!(found(&library, scope, &DetectionQuery::default()), [(4, 1)]);
    assert_eq!(library.detection_totals(scope).unwrap().total_detections, 1);
    assert_eq!(library.detection_stats(scope).unwrap().n_tracks, 1);
    assert_eq!(library.track_summaries(scope).unwrap().len(), 1);
    assert_eq!(library.import_in(scope).unwrap().unwrap().job_id, "two");
    // Also when the app deletes the rows of the latest job.
    db.plain().execute("DELETE FROM player_detections WHERE id > 10", []).unwrap();
    assert_eq!(found(&library, scope, &DetectionQuery::default()).len(), 10);
    library.remove_job("one", false).unwrap();
    assert_eq!(found(&library, scope, &DetectionQuery::default()), []);
}

#[test]
fn rows_that_reuse_the_ids_of_deleted_ones_belong_to_no_job() {
    let (db, library, video) = library();
    let app = db.plain();
    app.execute("DELETE FROM player_detections", []).unwrap();
    app.execute(
        "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height, tracking_id,
            confidence_score) VALUES (?1, 8, 7, 7, 1, 1, 5, 0.5), (?1, 9, 7, 7, 1, 1, 5, 0.5)",
        [video],
    )
    .unwrap();
    let all = DetectionQuery::default();
    assert_eq!(found(&library, DetectionScope::Job("one"), &all), []);
    assert_eq!(found(&library, DetectionScope::Video(video), &all), [(8, 5), (9, 5)]);
    assert_eq!(library.import_in(DetectionScope::Video(video)).unwrap(), None);
}

#[test]
fn every_filter_applies() {
    let (_db, library, _) = library();
    let all = DetectionQuery::default();
    for (job, query, expected) in [
        ("one", DetectionQuery { frame_start: Some(6), ..all.clone() }, vec![(6, 1), (6, 2), (8, 1), (8, 2)]),
        // Both ends are inclusive.
        (
            "one",
            DetectionQuery { frame_start: Some(2), frame_end: Some(2), ..all.clone() },
            vec![(2, 1), (2, 2)],
        ),
        ("one", DetectionQuery { frame_start: Some(3), frame_end: Some(3), ..all.clone() }, vec![]),
        ("one", DetectionQuery { frame_start: Some(9), frame_end: Some(1), ..all.clone() }, vec![]),
        ("one", DetectionQuery { min_confidence: Some(0.4), ..all.clone() }, vec![(8, 1), (8, 2)]),
        ("two", all.clone(), vec![(4, 1)]),
        ("none", all.clone(), vec![]),
        (
            "one",
            DetectionQuery { frame_end: Some(4), min_confidence: Some(0.1), ..all.clone() },
            vec![(2, 1), (2, 2), (4, 1), (4, 2)],
        ),
    ] {
        assert_eq!(found(&library, DetectionScope::Job(job), &query), expected, "{query:?}");
    }
}

#[test]
fn a_limit_applies_to_the_list_but_not_the_totals() {
    let (_db, library, _) = library();
    let one = DetectionScope::Job("one");
    let query = DetectionQuery { limit: Some(3), ..DetectionQuery::default() };
    assert_eq!(found(&library, one, &query), [(0, 1), (0, 2), (2, 1)]);
    let totals = library.detection_totals(one).unwrap();
    assert_eq!(totals, DetectionTotals { total_detections: 10, frames_with_detections: 5 });
    assert_eq!(found(&library, one, &DetectionQuery { limit: Some(0), ..query }), []);
}

#[test]
fn a_stream_has_the_rows_of_the_list() {
    let (_db, library, video) = library();
    let stream = |of| {
        let mut ids = Vec::new();
        library
            .for_each_detection(of, |row| {
                ids.push(row.id);
                ControlFlow::Continue(())
            })
            .unwrap();
        ids
    };
    let list = |scope| {
        let rows = library.detections(scope, &DetectionQuery::default()).unwrap();
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    for scope in [DetectionScope::Video(video), DetectionScope::Job("one"), DetectionScope::Job("two")] {
        assert_eq!(stream(scope), list(scope));
    }
    assert_eq!(stream(DetectionScope::Job("none")), [0; 0]);

    let mut n_seen = 0;
    library
        .for_each_detection(DetectionScope::Job("one"), |_| {
            n_seen += 1;
            if n_seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(n_seen, 4);
}

#[test]
fn statistics_are_consistent() {
    let (_db, library, _) = library();
    let one = DetectionScope::Job("one");
    let stats = library.detection_stats(one).unwrap();
    assert_eq!((stats.total_detections, stats.frames_with_detections, stats.n_tracks), (10, 5, 2));
    assert_eq!((stats.total_frames_processed, stats.first_frame, stats.last_frame), (1000, Some(0), Some(8)));
    assert_eq!(stats.avg_detections_per_frame, 10.0 / 1000.0);
    assert!((stats.mean_confidence.unwrap() - 0.2).abs() < 1e-12);
    for none in [DetectionScope::Video(2), DetectionScope::Job("none")] {
        assert_eq!(library.detection_stats(none).unwrap(), DetectionStats::default());
        assert_eq!(library.track_summaries(none).unwrap(), []);
    }
    let tracks = library.track_summaries(one).unwrap();
    let brief =
        |track: &TrackSummary| (track.track_id, track.n_detections, track.first_frame, track.last_frame);
    assert_eq!(tracks.iter().map(brief).collect::<Vec<_>>(), [(1, 5, 0, 8), (2, 5, 0, 8)]);
}
