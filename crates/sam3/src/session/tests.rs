//! Failures and memory shortage: a failed push changes nothing; a device without memory costs time, then tracks, but
//! never the run. And saved sessions that no run can have saved.

use candle_core::Tensor;
use serde_json::json;

use super::store::forged;
use super::{Frame, FrameOutput, MemoryFallback, Session};
use crate::error::{Error, Result};
use crate::options::{Compat, Mode, SessionOptions};
use crate::parity::Checkpoint;
use crate::trace::on_a_device_for;

fn streaming(checkpoint: &Checkpoint) -> Session {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    Session::new(checkpoint.model.clone(), &prompts, options).unwrap()
}

/// A session after `n` frames of its clip.
fn after_frames(checkpoint: &Checkpoint, n: usize) -> Session {
    let mut session = streaming(checkpoint);
    for t in 0..n {
        session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    }
    session
}

/// The outputs of a complete clip in streaming mode, and the session after it.
fn track(checkpoint: &Checkpoint) -> (Vec<FrameOutput>, Session) {
    let mut session = streaming(checkpoint);
    let frame = |t| session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    let outputs = (0..checkpoint.n_frames()).flat_map(frame).collect();
    (outputs, session)
}

fn ids(outputs: &[FrameOutput]) -> Vec<Vec<u64>> {
    outputs.iter().map(|o| o.objects.iter().map(|object| object.id).collect()).collect()
}

#[test]
fn a_failed_push_leaves_the_session_unchanged() {
    let checkpoint = Checkpoint::open("narrow");
    let options = SessionOptions {
        compat: Compat::Fixed,
        ..SessionOptions::new(Mode::Streaming, checkpoint.frame_size())
    };
    let mut session = Session::new(checkpoint.model.clone(), &["Box"], options).unwrap();
    session.push(Frame::PixelValues(&checkpoint.pixel_values(0))).unwrap();
    let before = session.to_bytes().unwrap();
    let error = session.push(Frame::Rgb(&[0; 12])).unwrap_err();
    assert!(matches!(error, crate::Error::Frame { frame_idx: 1, .. }), "{error}");
    assert_eq!(session.to_bytes().unwrap(), before);
}

#[test]
fn a_device_with_memory_for_one_object_at_a_time_gives_the_same_tracks() {
    let checkpoint = Checkpoint::open("wide");
    let (want, session) = track(&checkpoint);
    assert!(session.memory_fallbacks().is_empty());
    let (got, session) = on_a_device_for(1, usize::MAX, || track(&checkpoint));
    assert_eq!(ids(&got), ids(&want));
    let boxes = |outputs: &[FrameOutput]| -> Vec<[f32; 4]> {
        outputs.iter().flat_map(|o| o.objects.iter().map(|object| object.bbox)).collect()
    };
    assert_eq!(boxes(&got), boxes(&want));
    let last = session.memory_fallbacks().last();
    assert!(matches!(last, Some(MemoryFallback::ObjectsAtOnce { n: 1, .. })), "{last:?}");
}

#[test]
fn a_device_too_small_for_all_tracks_continues_with_fewer() {
    let checkpoint = Checkpoint::open("wide");
    let (want, _) = track(&checkpoint);
    let most = |outputs: &[FrameOutput]| outputs.iter().map(|o| o.low_res.len()).max();
    assert!(most(&want) > Some(2), "the clip has too few objects for this test");
    let (got, session) = on_a_device_for(1, 2, || track(&checkpoint));
    assert_eq!(got.len(), want.len());
    let last = session.memory_fallbacks().last();
    assert!(matches!(last, Some(MemoryFallback::MaxObjects { n: 2, .. })), "{last:?}");
    assert!(session.n_tracked() <= 2);
    // A restored session keeps the limit.
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let bytes = session.to_bytes().unwrap();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let model = checkpoint.model.clone();
    let restored = Session::from_bytes(model, &prompts, options, &bytes, "saved".as_ref()).unwrap();
    assert_eq!(restored.memory_fallbacks(), session.memory_fallbacks());
}

#[test]
fn a_device_too_small_for_one_object_is_an_error_and_the_frame_can_be_pushed_again() {
    let checkpoint = Checkpoint::open("narrow");
    let mut session = after_frames(&checkpoint, 1);
    let second = checkpoint.pixel_values(1);
    let error = on_a_device_for(0, 0, || session.push(Frame::PixelValues(&second))).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert_eq!(session.n_frames(), 1);
    session.push(Frame::PixelValues(&second)).unwrap();
}

#[test]
fn the_prepared_next_frame_is_dropped_before_batches_are_reduced() {
    let checkpoint = Checkpoint::open("wide");
    let mut session = after_frames(&checkpoint, 6);
    let (now, next) = (checkpoint.pixel_values(6), checkpoint.pixel_values(7));
    let prepared = session.prepare(&Frame::PixelValues(&now)).unwrap();
    let next = Frame::PixelValues(&next);
    let (_, next_prepared) =
        on_a_device_for(1, usize::MAX, || session.push_prepared(&prepared, Some(&next))).unwrap();
    assert!(next_prepared.is_none());
    assert!(!session.memory_fallbacks().is_empty());
}

#[test]
fn preparing_the_next_frame_in_advance_changes_nothing() {
    let checkpoint = Checkpoint::open("narrow");
    let (want, session) = track(&checkpoint);
    let mut ahead = streaming(&checkpoint);
    let frames: Vec<Tensor> = (0..checkpoint.n_frames()).map(|t| checkpoint.pixel_values(t)).collect();
    let mut prepared = ahead.prepare(&Frame::PixelValues(&frames[0])).unwrap();
    let mut got = Vec::new();
    for t in 0..frames.len() {
        let next = frames.get(t + 1).map(Frame::PixelValues);
        let (outputs, next) = ahead.push_prepared(&prepared, next.as_ref()).unwrap();
        got.extend(outputs);
        assert_eq!(next.is_some(), t + 1 < frames.len());
        prepared = next.unwrap_or(prepared);
    }
    assert_eq!(got, want);
    assert_eq!(ahead.to_bytes().unwrap(), session.to_bytes().unwrap());
}

/// Loads a session of this clip in offline mode.
fn load(checkpoint: &Checkpoint, bytes: &[u8]) -> Result<Session> {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    Session::from_bytes(checkpoint.model.clone(), &prompts, offline(checkpoint), bytes, "saved".as_ref())
}

fn offline(checkpoint: &Checkpoint) -> SessionOptions {
    let mode = Mode::Offline { n_frames: checkpoint.n_frames() };
    SessionOptions::new(mode, checkpoint.frame_size())
}

/// A session in offline mode that has tracks, and frames that wait, saved.
fn saved_with_pending_frames(checkpoint: &Checkpoint) -> Vec<u8> {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let mut session = Session::new(checkpoint.model.clone(), &prompts, offline(checkpoint)).unwrap();
    for t in 0..6 {
        session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    }
    assert!(session.n_tracked() > 1 && session.n_pending() > 0);
    session.to_bytes().unwrap()
}

#[test]
fn a_forged_session_whose_digest_fits_is_refused() {
    let checkpoint = Checkpoint::open("wide");
    let bytes = saved_with_pending_frames(&checkpoint);
    assert_eq!(load(&checkpoint, &forged(&bytes, |_| (), |_| ())).unwrap().to_bytes().unwrap(), bytes);
    let row = "/tracks/0/frames";
    for (what, pointer, value) in [
        ("the next id at its maximum", "/next_id", json!(u64::MAX)),
        ("the next id among those of tracks", "/next_id", json!(1)),
        ("more frames than announced", "/n_frames", json!(1_000_000)),
        ("fewer frames than its tracks have", "/n_frames", json!(1)),
        ("the number of frames at its maximum", "/n_frames", json!(u64::MAX)),
        ("more rejected detections than detections", "/n_turned_away", json!(u64::MAX)),
        ("a track id of the future", "/tracks/0/facts/id", json!(900)),
        ("a track id twice", "/tracks/1/facts/id", json!(0)),
        ("a track of an unknown prompt", "/tracks/0/facts/prompt", json!(99)),
        ("a track born in the future", "/tracks/0/facts/first_frame", json!(900)),
        ("a track matched in the future", "/tracks/0/facts/last_matched", json!(900)),
        ("a probability above 1", "/tracks/0/facts/birth_score", json!(1.5)),
        ("an endless keep-alive", "/tracks/0/facts/keep_alive", json!(i64::MAX)),
        ("more unmatched frames than frames", "/tracks/0/facts/n_unmatched", json!(u64::MAX)),
        ("a track occluded in the future", "/tracks/0/facts/last_occluded", json!(900)),
        ("a memory of the future", "/tracks/0/frames/0/0", json!(900)),
        ("a track without memory", row, json!([[], [], [], []])),
        ("a mask of an unknown track", "/waiting/0/masks/0/0", json!(900)),
        ("a mask of an unknown prompt", "/waiting/0/masks/0/1", json!(99)),
        ("a score above 1", "/waiting/0/masks/0/2", json!(2.0)),
        ("a tracker score above 1", "/waiting/0/masks/0/3", json!(1e30)),
        ("an unknown track removed from a frame", "/waiting/0/removed", json!([900])),
        ("an unknown track hidden on a frame", "/waiting/0/suppressed", json!([900])),
        ("a frame of the future that waits", "/waiting/0/frame_idx", json!(900)),
        ("an unknown track removed", "/withdrawn", json!([[900, 0]])),
        ("a track removed in the future", "/withdrawn", json!([[0, 900]])),
        ("an unknown track compared", "/overlaps", json!([[[0, 900], 1]])),
    ] {
        let edit = |numbers: &mut serde_json::Value| {
            *numbers.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        };
        let loaded = load(&checkpoint, &forged(&bytes, edit, |_| ()));
        assert!(matches!(loaded, Err(Error::SavedSession { .. })), "{what}: {:?}", loaded.err());
    }
    // All bits of a NaN, in every type.
    let loaded = load(&checkpoint, &forged(&bytes, |_| (), |tensors| tensors.fill(0xff)));
    assert!(matches!(loaded, Err(Error::SavedSession { .. })), "tensors that are not finite");
}
