//! Corrections of tracks: random sequences of edits, undo and redo, compared with a model that changes every detection.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use store::{DetectionQuery, DetectionScope, Edit, Library, StoreError, StoredDetection};
use time::OffsetDateTime;

use crate::properties::Random;
use crate::support::{TestDb, add, detection, dump, import};

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const JOB: &str = "job";
const SCOPE: DetectionScope<'_> = DetectionScope::Job(JOB);

/// Tracks 1 to 6, each on some of the frames 0 to 39, with gaps.
fn detections() -> Vec<StoredDetection> {
    let is_there = |frame: i64, track: i64| {
        (frame + 7 * track) % 40 < 22 && (frame * track) % 5 != 4 && (frame / 8 + track) % 3 != 0
    };
    let all = (0..40).flat_map(|frame| (1..=6).map(move |track| (frame, track)));
    all.filter(|(frame, track)| is_there(*frame, *track)).map(|(f, t)| detection(f, t)).collect()
}

fn library(db: &TestDb) -> Library {
    let mut library = db.library();
    let video = add(&mut library, "game.mp4");
    import(&mut library, JOB, video, "sha", &detections()).unwrap();
    library
}

/// The frame, the stored track and the track of every detection; deleted ones are left out.
type Model = Vec<(i64, i64, i64)>;

fn apply(model: &mut Model, edit: &Edit) {
    let each = |model: &mut Model, from: i64, to: &dyn Fn(i64) -> i64| {
        model.iter_mut().filter(|(frame, ..)| *frame >= from).for_each(|(.., id)| *id = to(*id));
    };
    match *edit {
        Edit::Name { .. } | Edit::Team { .. } => {}
        Edit::Merge { track, into } => each(model, 0, &|id| if id == track { into } else { id }),
        Edit::Split { track, frame, new } => each(model, frame, &|id| if id == track { new } else { id }),
        Edit::Swap { track, with, frame } => each(model, frame, &|id| match id {
            _ if id == track => with,
            _ if id == with => track,
            _ => id,
        }),
        Edit::Delete { track } => model.retain(|(.., id)| *id != track),
    }
}

fn model_of(edits: &[Edit]) -> Model {
    let mut model: Model = detections().iter().map(|row| (row.frame, row.track_id, row.track_id)).collect();
    edits.iter().for_each(|edit| apply(&mut model, edit));
    model
}

/// Everything that reads detections shows what the model has.
fn check(library: &Library, edits: &[Edit]) {
    let mut expected: Vec<(i64, i64)> = model_of(edits).iter().map(|(frame, _, id)| (*frame, *id)).collect();
    expected.sort_unstable();
    let mut streamed = Vec::new();
    let each = |row: &store::DetectionRow| {
        streamed.push((row.detection.frame, row.detection.track_id));
        ControlFlow::Continue(())
    };
    library.for_each_detection(SCOPE, each).unwrap();
    assert_eq!(streamed, expected, "{edits:?}");
    let listed = |limit| {
        let query = DetectionQuery { limit, frame_start: Some(5), ..DetectionQuery::default() };
        let rows = library.detections(SCOPE, &query).unwrap();
        rows.iter().map(|row| (row.detection.frame, row.detection.track_id)).collect::<Vec<_>>()
    };
    let from_5: Vec<_> = expected.iter().copied().filter(|(frame, _)| *frame >= 5).collect();
    assert_eq!(listed(None), from_5, "{edits:?}");
    assert_eq!(listed(Some(9)).len(), from_5.len().min(9));
    let mut tracks: BTreeMap<i64, (i64, i64, i64)> = BTreeMap::new();
    for (frame, id) in &expected {
        let track = tracks.entry(*id).or_insert((0, *frame, *frame));
        *track = (track.0 + 1, track.1.min(*frame), track.2.max(*frame));
    }
    let summaries = library.track_summaries(SCOPE).unwrap();
    let found: BTreeMap<_, _> = summaries
        .iter()
        .map(|track| (track.track_id, (track.n_detections, track.first_frame, track.last_frame)))
        .collect();
    assert_eq!(found, tracks, "{edits:?}");
    assert!(summaries.iter().all(|track| (track.mean_confidence - 0.5).abs() < 1e-9));
    let frames: std::collections::BTreeSet<i64> = expected.iter().map(|(frame, _)| *frame).collect();
    let totals = library.detection_totals(SCOPE).unwrap();
    assert_eq!(
        (totals.total_detections, totals.frames_with_detections),
        (expected.len() as i64, frames.len() as i64)
    );
    let stats = library.detection_stats(SCOPE).unwrap();
    assert_eq!((stats.total_detections, stats.n_tracks), (expected.len() as i64, tracks.len() as i64));
    assert_eq!(library.detection_stats(SCOPE.raw()).unwrap().n_tracks, 6);
}

fn random_edit(random: &mut Random) -> Edit {
    let mut track = || 1 + random.below(9) as i64;
    let (track, other) = (track(), track());
    let frame = random.below(44) as i64;
    match random.below(6) {
        0 => Edit::Name { track, name: Some("Anna".to_owned()) },
        1 => Edit::Delete { track },
        2 | 3 => Edit::Merge { track, into: other },
        4 => Edit::Split { track, frame, new: 0 },
        _ => Edit::Swap { track, with: other, frame },
    }
}

#[test]
fn any_sequence_of_edits_undo_and_redo_equals_replaying_the_log() {
    for seed in 0..25 {
        let db = TestDb::new();
        let library = library(&db);
        let random = &mut Random(seed);
        let (mut done, mut undone): (Vec<Edit>, Vec<Edit>) = (Vec::new(), Vec::new());
        let mut n_refused = 0;
        for _ in 0..30 {
            match random.below(5) {
                0 => {
                    assert_eq!(library.undo_edit(SCOPE).unwrap(), !done.is_empty());
                    undone.extend(done.pop());
                }
                1 => {
                    assert_eq!(library.redo_edit(SCOPE).unwrap(), !undone.is_empty());
                    done.extend(undone.pop());
                }
                _ => match library.add_edit(SCOPE, &random_edit(random), NOW) {
                    Ok(()) => {
                        undone.clear();
                        let log = library.edits(SCOPE).unwrap();
                        done.push(log.edits.last().unwrap().edit.clone());
                    }
                    Err(StoreError::Conflict(_)) => n_refused += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                },
            }
            let log = library.edits(SCOPE).unwrap().edits;
            let logged = |is_undone| {
                let edits = log.iter().filter(move |logged| logged.is_undone == is_undone);
                edits.map(|logged| logged.edit.clone()).collect::<Vec<_>>()
            };
            assert_eq!(logged(false), done);
            assert_eq!(logged(true), undone.iter().rev().cloned().collect::<Vec<_>>());
            assert!(log.iter().all(|logged| logged.problem.is_none()));
            check(&library, &done);
        }
        assert!(n_refused < 25, "seed {seed}");
    }
}

#[test]
fn edits_that_do_not_fit_are_refused_with_the_reason() {
    let db = TestDb::new();
    let library = library(&db);
    let refused = |edit: Edit, why: &str| {
        let error = library.add_edit(SCOPE, &edit, NOW).unwrap_err();
        assert!(matches!(&error, StoreError::Conflict(text) if text.contains(why)), "{error}");
    };
    refused(Edit::Delete { track: 7 }, "there is no track 7");
    refused(Edit::Merge { track: 1, into: 1 }, "the same track");
    let frame =
        |track: i64| detections().into_iter().filter(move |row| row.track_id == track).map(|row| row.frame);
    let meets_1 = (2..=6).find(|other| frame(1).any(|at| frame(*other).any(|there| there == at))).unwrap();
    refused(Edit::Merge { track: 1, into: meets_1 }, "are both on frame");
    refused(Edit::Split { track: 1, frame: 0, new: 0 }, "it can be split at frames");
    refused(Edit::Swap { track: 1, with: 2, frame: 400 }, "before frame 400");
    let long = Edit::Name { track: 1, name: Some("x".repeat(101)) };
    assert!(matches!(library.add_edit(SCOPE, &long, NOW), Err(StoreError::BadInput(_))));
    let unknown = DetectionScope::Job("none");
    let delete = Edit::Delete { track: 1 };
    assert!(matches!(library.add_edit(unknown, &delete, NOW), Err(StoreError::UnknownJob(_))));
    let unknown = DetectionScope::Video(9);
    assert!(matches!(library.undo_edit(unknown), Err(StoreError::UnknownVideo(9))));
    check(&library, &[]);
}

#[test]
fn names_are_kept_with_the_corrected_track() {
    let db = TestDb::new();
    let library = library(&db);
    let name = |track, name: &str| Edit::Name { track, name: Some(name.to_owned()) };
    library.add_edit(SCOPE, &name(4, "  Zoë "), NOW).unwrap();
    library.add_edit(SCOPE, &Edit::Team { track: 4, team: Some("home".to_owned()) }, NOW).unwrap();
    let labels = library.track_labels(SCOPE).unwrap();
    assert_eq!(labels[&4].name.as_deref(), Some("Zoë"));
    assert_eq!(labels[&4].team.as_deref(), Some("home"));
    library.add_edit(SCOPE, &name(4, " "), NOW).unwrap();
    assert_eq!(library.track_labels(SCOPE).unwrap()[&4].name, None);
}

#[test]
fn importing_other_results_keeps_the_edits_that_fit_and_reports_the_others() {
    let db = TestDb::new();
    let mut library = library(&db);
    library.add_edit(SCOPE, &Edit::Delete { track: 6 }, NOW).unwrap();
    library.add_edit(SCOPE, &Edit::Name { track: 1, name: Some("Anna".to_owned()) }, NOW).unwrap();
    let others: Vec<_> = detections().into_iter().filter(|row| row.track_id != 6).collect();
    import(&mut library, JOB, 1, "other", &others).unwrap();
    let log = library.edits(SCOPE).unwrap();
    let problems: Vec<_> = log.edits.iter().map(|logged| logged.problem.as_deref()).collect();
    assert_eq!(problems, [Some("there is no track 6"), None]);
    assert_eq!(library.track_labels(SCOPE).unwrap()[&1].name.as_deref(), Some("Anna"));
    assert_eq!(library.track_summaries(SCOPE).unwrap().len(), 5);
    // The ids of split tracks are never those of imported ones.
    import(&mut library, JOB, 1, "sha", &detections()).unwrap();
    library.add_edit(SCOPE, &Edit::Split { track: 1, frame: 30, new: 0 }, NOW).unwrap();
    let more: Vec<_> = detections().into_iter().chain((40..50).map(|frame| detection(frame, 7))).collect();
    import(&mut library, JOB, 1, "more", &more).unwrap();
    let last = library.edits(SCOPE).unwrap().edits.pop().unwrap();
    assert_eq!(last.problem.as_deref(), Some("track 7 is another one"));
    let seventh = library.track_summaries(SCOPE).unwrap().into_iter().find(|track| track.track_id == 7);
    assert_eq!(seventh.unwrap().n_detections, 10);
}

#[test]
fn edits_end_with_their_video_and_change_no_detection() {
    let db = TestDb::new();
    let mut library = library(&db);
    let rows =
        |db: &TestDb| dump(&db.plain()).into_iter().filter(|line| line.starts_with("player_detections:"));
    let before: Vec<_> = rows(&db).collect();
    library.add_edit(SCOPE, &Edit::Delete { track: 2 }, NOW).unwrap();
    assert!(rows(&db).eq(before));
    library.remove_video(1, true).unwrap();
    assert_eq!(db.dump().iter().filter(|line| line.starts_with("courtside_edits:")).count(), 0);
}
