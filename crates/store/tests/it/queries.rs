//! Listings, totals, streams and figures of detections.

use std::ops::ControlFlow;

use store::{Detection, DetectionQuery, DetectionStats, DetectionTotals, Library, Select, TrackSummary};

use crate::support::{Place, add, detection, import};

/// Frames 0, 2, 4, 6, 8 with tracks 1 and 2 from one job, handed in backwards; frame 4 with track 1
/// from another.
fn library() -> (Place, Library, i64) {
    let place = Place::new();
    let mut library = place.library();
    let video = add(&mut library, "a.mp4");
    add(&mut library, "empty.mp4");
    let backwards: Vec<Detection> = (0..5)
        .rev()
        .flat_map(|n| [2, 1].map(|track| Detection { confidence: 0.1 * n as f64, ..detection(2 * n, track) }))
        .collect();
    import(&mut library, "one", video, "a", &backwards).unwrap();
    import(&mut library, "two", video, "a", &[detection(4, 1)]).unwrap();
    (place, library, video)
}

fn found(library: &Library, video: i64, query: &DetectionQuery) -> Vec<(i64, i64)> {
    let rows = library.detections(video, query).unwrap();
    rows.iter().map(|row| (row.detection.frame, row.detection.track_id)).collect()
}

#[test]
fn a_listing_is_by_frame_then_track() {
    let (_place, library, video) = library();
    let all = found(&library, video, &DetectionQuery::default());
    assert_eq!(all.len(), 11);
    assert!(all.is_sorted());
    assert_eq!(found(&library, 99, &DetectionQuery::default()), []);
}

#[test]
fn every_filter_counts() {
    let (_place, library, video) = library();
    let all = DetectionQuery::default();
    for (query, expected, n_frames) in [
        (DetectionQuery { frame_start: Some(6), ..all.clone() }, vec![(6, 1), (6, 2), (8, 1), (8, 2)], 2),
        // Both ends belong to it.
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
fn a_limit_cuts_the_listing_and_not_the_totals() {
    let (_place, library, video) = library();
    let query = DetectionQuery { limit: Some(3), ..DetectionQuery::default() };
    assert_eq!(found(&library, video, &query), [(0, 1), (0, 2), (2, 1)]);
    let totals = library.detection_totals(video, &query).unwrap();
    assert_eq!(totals, DetectionTotals { total_detections: 11, frames_with_detections: 5 });
    assert_eq!(found(&library, video, &DetectionQuery { limit: Some(0), ..query }), []);
}

#[test]
fn a_stream_is_the_listing_one_by_one() {
    let (_place, library, video) = library();
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
    assert_eq!(stream(Select::Video(video)), list(&DetectionQuery::default()));
    for job in ["one", "two"] {
        let query = DetectionQuery { job_id: Some(job.into()), ..DetectionQuery::default() };
        assert_eq!(stream(Select::Job(job)), list(&query));
    }
    assert_eq!(stream(Select::Job("none")), [0; 0]);

    let mut n_seen = 0;
    library
        .for_each_detection(Select::Video(video), |_| {
            n_seen += 1;
            if n_seen == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(n_seen, 4);
}

#[test]
fn figures_add_up() {
    let (_place, library, video) = library();
    let stats = library.detection_stats(Select::Video(video)).unwrap();
    assert_eq!((stats.total_detections, stats.frames_with_detections, stats.n_tracks), (11, 5, 3));
    assert_eq!((stats.total_frames_processed, stats.first_frame, stats.last_frame), (1000, Some(0), Some(8)));
    assert_eq!(stats.avg_detections_per_frame, 11.0 / 2000.0);
    assert!((stats.mean_confidence.unwrap() - 2.5 / 11.0).abs() < 1e-12);

    let one = library.detection_stats(Select::Job("one")).unwrap();
    assert_eq!((one.total_detections, one.frames_with_detections, one.n_tracks), (10, 5, 2));
    for none in [Select::Video(2), Select::Job("none")] {
        assert_eq!(library.detection_stats(none).unwrap(), DetectionStats::default());
        assert_eq!(library.track_summaries(none).unwrap(), []);
    }

    let ids: Vec<Option<i64>> =
        ["one", "two"].map(|job| library.import_of(job).unwrap().map(|import| import.id)).to_vec();
    let tracks = library.track_summaries(Select::Video(video)).unwrap();
    let brief = |track: &TrackSummary| {
        (track.import_id, track.track_id, track.n_detections, track.first_frame, track.last_frame)
    };
    let tracks: Vec<_> = tracks.iter().map(brief).collect();
    assert_eq!(tracks, [(ids[0], 1, 5, 0, 8), (ids[0], 2, 5, 0, 8), (ids[1], 1, 1, 4, 4)]);
}
