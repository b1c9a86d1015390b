//! Failures and memory shortage: a failed push changes nothing; a device without memory costs time, then tracks, but
//! never the run.

use candle_core::Tensor;

use super::{Frame, FrameOutput, MemoryFallback, Session};
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
