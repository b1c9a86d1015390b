//! Checkpoints that are not this run's, or damaged: refused by name, and nothing of them is lost.

use crate::continuing::{args, stopped_run};
use crate::fixture::{narrow, wide};
use crate::program::Place;

/// The files of a checkpoint.
const FILES: [&str; 2] = ["run.checkpoint", "run.checkpoint.detections"];

/// Runs the command, which must be refused with `word` and leave every file as it was.
#[track_caller]
fn refused(place: &Place, args: &[&str], word: &str) {
    let contents = || place.names().into_iter().map(|n| (place.read(&n), n)).collect::<Vec<_>>();
    let before = contents();
    let ran = place.run(args).expect(1, &[word, "run.checkpoint"]);
    assert!(ran.stderr.contains("delete"), "no way out is named: {}", ran.stderr);
    assert!(contents() == before, "files were changed: {:?}", place.names());
}

#[test]
fn a_checkpoint_of_another_run() {
    let place = stopped_run();
    let model = wide().model();
    let same = args(&model);
    let with = |extra: &[&'static str]| [&same[..], extra].concat();
    refused(&place, &with(&["--prompt", "box"]), "other prompts");
    refused(&place, &with(&["--every", "2"]), "--every");
    refused(&place, &with(&["--to", "20"]), "--to");
    refused(&place, &with(&["--mode", "streaming"]), "other options");
    refused(&place, &with(&["--max-objects", "2"]), "other options");
    refused(&place, &args(&narrow().model()), "another model");
    wide().video(&place, 30, "game.mkv");
    refused(&place, &same, "another video");
}

#[test]
fn a_damaged_checkpoint() {
    let place = stopped_run();
    let model = wide().model();
    let whole = place.read(FILES[0]);
    let head = whole.iter().position(|&b| b == b'{').unwrap();
    for length in [0, 5, head, head + 40, whole.len() / 2, whole.len() - 1] {
        place.write(FILES[0], &whole[..length]);
        refused(&place, &args(&model), "checkpoint");
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    place.write(FILES[0], &flipped);
    refused(&place, &args(&model), "not a complete session");
    place.write(FILES[0], b"PNG\r\n\x1a\n\x00\x01 something else");
    refused(&place, &args(&model), "not one of this program's checkpoints");
}

#[test]
fn a_checkpoint_without_its_detections() {
    let place = stopped_run();
    let model = wide().model();
    let records = place.read(FILES[1]);
    place.write(FILES[1], &records[..20]);
    refused(&place, &args(&model), "holds 0 of the");
    std::fs::remove_file(place.path(FILES[1])).unwrap();
    refused(&place, &args(&model), "run.checkpoint.detections");
}
