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

fn found(library: &Library, video: i64, query: &DetectionQuery) -> Vec<(i64, i64)> {
    let rows = library.detections(video, query).unwrap();
    rows.iter().map(|row| (row.detection.frame, row.detection.track_id)).collect()
}

#[test]
fn detections_are_listed_by_frame_then_track() {
    let (_db, library, video) = library();
    let all = found(&library, video, &DetectionQuery::default());
    assert_eq!(all.len(), 11);
    assert!(all.is_sorted());
    assert_eq!(found(&library, 99, &DetectionQuery::default()), []);
}

#[test]
fn every_filter_applies() {
    let (_db, library, video) = library();
    let all = DetectionQuery::default();
    for (query, expected, n_frames) in [
        (DetectionQuery { frame_start: Some(6), ..all.clone() }, vec![(6, 1), (6, 2), (8, 1), (8, 2)], 2),
        // Both ends are inclusive.
        (DetectionQuery { frame_start: Some(2), frame_end: Some(2), ..all.clone() }, vec![(2, 1), (2, 2)], 1),
        (DetectionQuery { frame_start: Some(3), frame_end: Some(3), ..all.clone() }, vec![], 0),
        (DetectionQuery { frame_start: Some(9), frame_end: Some(1), ..all.clone() }, vec![], 0),
        (DetectionQuery { min_confidence: Some(0.4), ..all.clone() }, vec![(4, 1), (8, 1), (8, 2)], 2),
        (DetectionQuery { job_id: Some("two".into()), ..all.clone() }, vec![(4, 1)], 1),
        (DetectionQuery { job_id: Some("none".into()), ..all.clone() }, vec![], 0),
        (
            DetectionQuery {
                job_id: Some("one".into()),
                frame_end: Some(4),
                min_confidence: Some(0.1),
                ..all.clone()
            },
            vec![(2, 1), (2, 2), (4, 1), (4, 2)],
            2,
        ),
    ] {
        assert_eq!(found(&library, video, &query), expected, "{query:?}");
        let totals =
            DetectionTotals { total_detections: expected.len() as i64, frames_with_detections: n_frames };
        assert_eq!(library.detection_totals(video, &query).unwrap(), totals, "{query:?}");
    }
}

#[test]
fn a_limit_applies_to_the_list_but_not_the_totals() {
    let (_db, library, video) = library();
    let query = DetectionQuery { limit: Some(3), ..DetectionQuery::default() };
    assert_eq!(found(&library, video, &query), [(0, 1), (0, 2), (2, 1)]);
    let totals = library.detection_totals(video, &query).unwrap();
    assert_eq!(totals, DetectionTotals { total_detections: 11, frames_with_detections: 5 });
    assert_eq!(found(&library, video, &DetectionQuery { limit: Some(0), ..query }), []);
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
    let list = |query: &DetectionQuery| {
        library.detections(video, query).unwrap().iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(stream(DetectionScope::Video(video)), list(&DetectionQuery::default()));
    for job in ["one", "two"] {
        let query = DetectionQuery { job_id: Some(job.into()), ..DetectionQuery::default() };
        assert_eq!(stream(DetectionScope::Job(job)), list(&query));
    }
    assert_eq!(stream(DetectionScope::Job("none")), [0; 0]);

    let mut n_seen = 0;
    library
        .for_each_detection(DetectionScope::Video(video), |_| {
            n_seen += 1;
            if n_seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(n_seen, 4);
}

#[test]
fn statistics_are_consistent() {
    let (_db, library, video) = library();
    let stats = library.detection_stats(DetectionScope::Video(video)).unwrap();
    assert_eq!((stats.total_detections, stats.frames_with_detections, stats.n_tracks), (11, 5, 3));
    assert_eq!((stats.total_frames_processed, stats.first_frame, stats.last_frame), (1000, Some(0), Some(8)));
    assert_eq!(stats.avg_detections_per_frame, 11.0 / 2000.0);
    assert!((stats.mean_confidence.unwrap() - 2.5 / 11.0).abs() < 1e-12);

    let one = library.detection_stats(DetectionScope::Job("one")).unwrap();
    assert_eq!((one.total_detections, one.frames_with_detections, one.n_tracks), (10, 5, 2));
    for none in [DetectionScope::Video(2), DetectionScope::Job("none")] {
        assert_eq!(library.detection_stats(none).unwrap(), DetectionStats::default());
        assert_eq!(library.track_summaries(none).unwrap(), []);
    }

    let ids: Vec<Option<i64>> =
        ["one", "two"].map(|job| library.import_of(job).unwrap().map(|import| import.id)).to_vec();
    let tracks = library.track_summaries(DetectionScope::Video(video)).unwrap();
    let brief = |track: &TrackSummary| {
        (track.import_id, track.track_id, track.n_detections, track.first_frame, track.last_frame)
    };
    let tracks: Vec<_> = tracks.iter().map(brief).collect();
    assert_eq!(tracks, [(ids[0], 1, 5, 0, 8), (ids[0], 2, 5, 0, 8), (ids[1], 1, 1, 4, 4)]);
}
