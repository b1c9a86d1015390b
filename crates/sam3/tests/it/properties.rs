//! Properties of every run: the same frames give the same objects, limits are respected, lost objects retire.

use std::collections::BTreeSet;
use std::sync::Arc;

use sam3::{Compat, Frame, FrameOutput, Mode, Model, Precision, Session, SessionOptions};

use crate::fixture::{Fixture, NAMES};

fn ids(output: &FrameOutput) -> BTreeSet<u64> {
    output.low_res.iter().map(|m| m.id).collect()
}

/// All outputs, and the number of tracked objects after each frame.
fn run_counted(
    fixture: &Fixture,
    model: &Arc<Model>,
    options: SessionOptions,
) -> (Vec<FrameOutput>, Vec<usize>) {
    let mut session = Session::new(model.clone(), &fixture.prompts(), options).unwrap();
    let (mut outputs, mut counts) = (Vec::new(), Vec::new());
    for t in 0..fixture.n_frames() {
        outputs.extend(session.push(Frame::PixelValues(&fixture.pixel_values(t))).unwrap());
        counts.push(session.n_tracked());
    }
    outputs.extend(session.finish());
    (outputs, counts)
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let model = fixture.model(Precision::F32);
        let again = fixture.model(Precision::F32);
        let options = fixture.options(fixture.offline(), Compat::Fixed);
        let mut sessions =
            [model, again].map(|m| Session::new(m, &fixture.prompts(), options.clone()).unwrap());
        for t in 0..fixture.n_frames() {
            let values = fixture.pixel_values(t);
            let [a, b] = sessions.each_mut().map(|session| {
                let outputs = session.push(Frame::PixelValues(&values)).unwrap();
                (outputs, session.to_bytes().unwrap())
            });
            assert!(a == b, "{name} frame {t}");
        }
    }
}

#[test]
fn source_frames_give_the_same_ids_as_the_reference() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let model = fixture.model(Precision::F32);
        for (tag, mode) in [("preloaded", fixture.offline()), ("streaming", Mode::Streaming)] {
            let options = fixture.options(mode, Compat::Reference);
            let mut session = Session::new(model.clone(), &fixture.prompts(), options).unwrap();
            let mut outputs = Vec::new();
            for t in 0..fixture.n_frames() {
                outputs.extend(session.push(Frame::Rgb(&fixture.rgb(t))).unwrap());
            }
            outputs.extend(session.finish());
            assert_eq!(outputs.len(), fixture.n_frames());
            for (t, output) in outputs.iter().enumerate() {
                let want = |key: &str| {
                    let stored = fixture.tensors[&format!("{tag}.{t}.{key}")].to_vec1::<i64>().unwrap();
                    stored.into_iter().map(|id| id as u64).collect::<BTreeSet<u64>>()
                };
                assert_eq!(ids(output), want("ids"), "{name} {tag} frame {t}");
                let shown: BTreeSet<u64> = output.objects.iter().map(|o| o.id).collect();
                assert_eq!(shown, want("post.object_ids"), "{name} {tag} frame {t}");
            }
        }
    }
}

#[test]
fn frames_of_another_size_are_refused() {
    let fixture = Fixture::open("wide");
    let model = fixture.model(Precision::F32);
    let mut session =
        Session::new(model, &fixture.prompts(), fixture.options(Mode::Streaming, Compat::Fixed)).unwrap();
    let rgb = fixture.rgb(0);
    assert!(session.push(Frame::Rgb(&rgb[1..])).is_err());
    assert!(session.push(Frame::Rgb(&[])).is_err());
    let values = fixture.pixel_values(0);
    assert!(session.push(Frame::PixelValues(&values.narrow(1, 1, 8).unwrap())).is_err());
    assert_eq!(session.n_frames(), 0);
    session.push(Frame::Rgb(&rgb)).unwrap();
    assert_eq!(session.n_frames(), 1);
}

#[test]
fn max_objects_limits_the_tracked_objects() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let model = fixture.model(Precision::F32);
        for compat in [Compat::Fixed, Compat::Reference] {
            let options = fixture.options(Mode::Streaming, compat);
            let (_, free) = run_counted(&fixture, &model, options.clone());
            let limit = 2;
            assert!(free.iter().any(|&n| n > limit), "{name}: {free:?}");
            let limited = SessionOptions { max_objects: Some(limit), ..options };
            let (outputs, counts) = run_counted(&fixture, &model, limited);
            assert!(counts.iter().all(|&n| n <= limit), "{name} {compat:?}: {counts:?}");
            assert!(counts.contains(&limit), "{name} {compat:?}: {counts:?}");
            assert!(outputs.iter().all(|o| o.objects.len() <= limit), "{name} {compat:?}");
        }
    }
}

#[test]
fn objects_without_matching_detections_retire() {
    let fixture = Fixture::open("wide");
    let model = fixture.model(Precision::F32);
    let run = |compat, retire_after| {
        let options = SessionOptions { retire_after, ..fixture.options(Mode::Streaming, compat) };
        run_counted(&fixture, &model, options).0
    };
    let last = |outputs: &[FrameOutput]| ids(outputs.last().unwrap());
    let (kept, retired) = (run(Compat::Fixed, None), run(Compat::Fixed, Some(3)));
    let gone: BTreeSet<u64> = last(&kept).difference(&last(&retired)).copied().collect();
    assert!(!gone.is_empty(), "{:?} {:?}", last(&kept), last(&retired));
    // A retired object never reappears under its old id.
    for id in gone {
        let seen: Vec<bool> = retired.iter().map(|o| ids(o).contains(&id)).collect();
        let ends = seen.windows(2).filter(|w| w[0] && !w[1]).count();
        assert_eq!((ends, seen.last()), (1, Some(&false)), "object {id}: {seen:?}");
    }
    // The reference never retires objects.
    assert_eq!(last(&run(Compat::Reference, Some(3))), last(&run(Compat::Reference, None)));
}

#[test]
fn prompts_with_the_same_tokens_are_tracked_once() {
    let fixture = Fixture::open("wide");
    let model = fixture.model(Precision::F32);
    let prompts_of = |compat| {
        let options = fixture.options(Mode::Streaming, compat);
        let session = Session::new(model.clone(), &["ball", "Ball", "box", "ball"], options).unwrap();
        session.prompts().to_vec()
    };
    assert_eq!(prompts_of(Compat::Fixed), ["ball", "box"]);
    assert_eq!(prompts_of(Compat::Reference), ["ball", "Ball", "box"]);
}

#[test]
fn more_frames_than_announced_are_refused() {
    let fixture = Fixture::open("wide");
    let model = fixture.model(Precision::F32);
    let options = fixture.options(Mode::Offline { n_frames: 1 }, Compat::Fixed);
    let mut session = Session::new(model, &fixture.prompts(), options).unwrap();
    let pixels = fixture.pixel_values(0);
    assert_eq!(session.push(Frame::PixelValues(&pixels)).unwrap().len(), 1);
    let error = session.push(Frame::PixelValues(&pixels)).unwrap_err().to_string();
    assert!(error.contains("frame 1: one more than the 1 that were announced"), "{error}");
}

#[test]
fn detections_beyond_the_limit_are_counted() {
    let fixture = Fixture::open("wide");
    let model = fixture.model(Precision::F32);
    let turned_away = |max_objects| {
        let options = SessionOptions { max_objects, ..fixture.options(Mode::Streaming, Compat::Fixed) };
        let mut session = Session::new(model.clone(), &fixture.prompts(), options).unwrap();
        session.push(Frame::PixelValues(&fixture.pixel_values(0))).unwrap();
        (session.n_tracked() as u64, session.n_rejected())
    };
    let (all, none) = turned_away(None);
    assert_eq!(none, 0);
    assert_eq!(turned_away(Some(1)), (1, all - 1));
}
