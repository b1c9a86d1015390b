//! Saved sessions: they resume at any frame, and are refused with a different model or options and if they are corrupt.

use std::path::Path;
use std::sync::Arc;

use sam3::{Compat, Error, Frame, FrameOutput, Mode, Model, Precision, Session, SessionOptions};

use crate::fixture::{Fixture, NAMES};

const SOMEWHERE: &str = "session.safetensors";

fn restore(fixture: &Fixture, model: &Arc<Model>, options: &SessionOptions, bytes: &[u8]) -> Session {
    let prompts = fixture.prompts();
    Session::from_bytes(model.clone(), &prompts, options.clone(), bytes, Path::new(SOMEWHERE)).unwrap()
}

/// All outputs, and the saved state after each frame. `between` replaces the session before each frame.
fn run(
    fixture: &Fixture,
    model: &Arc<Model>,
    options: &SessionOptions,
    mut between: impl FnMut(Session) -> Session,
) -> (Vec<FrameOutput>, Vec<Vec<u8>>) {
    let mut session = Session::new(model.clone(), &fixture.prompts(), options.clone()).unwrap();
    let (mut outputs, mut states) = (Vec::new(), Vec::new());
    for t in 0..fixture.n_frames() {
        session = between(session);
        outputs.extend(session.push(Frame::PixelValues(&fixture.pixel_values(t))).unwrap());
        states.push(session.to_bytes().unwrap());
    }
    outputs.extend(between(session).finish());
    (outputs, states)
}

#[test]
fn saving_and_loading_before_every_frame_changes_nothing() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let model = fixture.model(Precision::F32);
        for mode in [fixture.offline(), Mode::Streaming] {
            for compat in [Compat::Fixed, Compat::Reference] {
                let options = fixture.options(mode, compat);
                let (want, want_states) = run(&fixture, &model, &options, |session| session);
                let reload = |s: Session| restore(&fixture, &model, &options, &s.to_bytes().unwrap());
                let (got, states) = run(&fixture, &model, &options, reload);
                // Not assert_eq: a failure would print every logit.
                assert!(got == want, "{name} {options:?}: outputs");
                assert!(states == want_states, "{name} {options:?}: states");
            }
        }
    }
}

/// A session after four frames, saved.
fn saved(fixture: &Fixture, model: &Arc<Model>, options: &SessionOptions) -> Vec<u8> {
    let mut session = Session::new(model.clone(), &fixture.prompts(), options.clone()).unwrap();
    for t in 0..4 {
        session.push(Frame::PixelValues(&fixture.pixel_values(t))).unwrap();
    }
    assert!(session.n_tracked() > 0);
    session.to_bytes().unwrap()
}

#[test]
fn a_session_is_refused_with_other_prompts_options_or_models() {
    let (fixture, other) = (Fixture::open("narrow"), Fixture::open("wide"));
    let model = fixture.model(Precision::F32);
    let options = fixture.options(fixture.offline(), Compat::Fixed);
    let bytes = saved(&fixture, &model, &options);
    let prompts = fixture.prompts();
    let size = SessionOptions { frame_size: (1, 2), ..options.clone() };
    let longer = SessionOptions { mode: Mode::Offline { n_frames: 5 }, ..options.clone() };
    let retiring = SessionOptions { retire_after: None, ..options.clone() };
    for (model, prompts, options, part) in [
        (other.model(Precision::F32), &prompts[..], &options, "of another model"),
        (model.clone(), &prompts[1..], &options, "of other prompts"),
        (model.clone(), &[prompts[1], prompts[0], prompts[2]], &options, "of other prompts"),
        (model.clone(), &prompts[..], &size, "of other options or another video"),
        (model.clone(), &prompts[..], &longer, "of other options or another video"),
        (model.clone(), &prompts[..], &retiring, "of other options or another video"),
    ] {
        let path = Path::new(SOMEWHERE);
        let loaded = Session::from_bytes(model, prompts, options.clone(), &bytes, path);
        let error = loaded.err().expect("the session is refused");
        let Error::SavedSession { path: named, what } = &error else { panic!("{error}") };
        assert!(named == path && what.contains(part), "{error}");
    }
    assert_eq!(restore(&fixture, &model, &options, &bytes).n_frames(), 4);
}

fn assert_damaged(fixture: &Fixture, model: &Arc<Model>, options: &SessionOptions, bytes: &[u8], how: &str) {
    let path = Path::new(SOMEWHERE);
    let loaded = Session::from_bytes(model.clone(), &fixture.prompts(), options.clone(), bytes, path);
    let error = loaded.err().unwrap_or_else(|| panic!("{how}: the session is accepted"));
    let Error::SavedSession { what, .. } = &error else { panic!("{how}: {error}") };
    assert!(what.contains("not a complete session file"), "{how}: {error}");
}

#[test]
fn a_corrupt_session_is_refused() {
    let fixture = Fixture::open("narrow");
    let model = fixture.model(Precision::F32);
    let options = fixture.options(fixture.offline(), Compat::Fixed);
    let whole = saved(&fixture, &model, &options);
    let header_len = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize + 8;
    assert!(header_len > 1000 && header_len < whole.len() / 2);

    for len in [0, 1, 7, 8, 9, header_len / 2, header_len, header_len + 1, whole.len() / 2, whole.len() - 1] {
        assert_damaged(&fixture, &model, &options, &whole[..len], &format!("cut to {len}"));
    }
    let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
    assert_damaged(&fixture, &model, &options, &longer, "one extra byte");
    // Every byte of the header, and some of the tensors'.
    let places = (0..header_len).chain((header_len..whole.len()).step_by(997)).chain([whole.len() - 1]);
    for place in places {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        assert_damaged(&fixture, &model, &options, &bytes, &format!("byte {place} changed"));
    }
}
