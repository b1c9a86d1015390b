//! Checkpoints that belong to another run or are damaged: rejected by name, and left unchanged.

use crate::fixture::{narrow, wide};
use crate::resume::{args, stopped_run};
use crate::sandbox::Sandbox;

/// The two files of a checkpoint.
const FILES: [&str; 2] = ["run.checkpoint", "run.checkpoint.detections"];

/// Runs the command, which must fail with `word`, hint at deleting the checkpoint, and leave every file unchanged.
#[track_caller]
fn expect_rejected(sandbox: &Sandbox, args: &[&str], word: &str) {
    let contents = || sandbox.names().into_iter().map(|n| (sandbox.read(&n), n)).collect::<Vec<_>>();
    let before = contents();
    let output = sandbox.run(args).expect(1, &[word, "run.checkpoint"]);
    assert!(output.stderr.contains("delete"), "no hint to delete it: {}", output.stderr);
    assert!(contents() == before, "files were changed: {:?}", sandbox.names());
}

#[test]
fn a_checkpoint_of_another_run_is_rejected() {
    let sandbox = stopped_run();
    let model = wide().model();
    let same = args(&model);
    let with = |extra: &[&'static str]| [&same[..], extra].concat();
    expect_rejected(&sandbox, &with(&["--prompt", "box"]), "other prompts");
    expect_rejected(&sandbox, &with(&["--every", "2"]), "--every");
    expect_rejected(&sandbox, &with(&["--to", "20"]), "--to");
    expect_rejected(&sandbox, &with(&["--mode", "streaming"]), "other options");
    expect_rejected(&sandbox, &with(&["--max-tracks", "2"]), "other options");
    expect_rejected(&sandbox, &args(&narrow().model()), "another model");
    wide().video(&sandbox, 30, "game.mkv");
    expect_rejected(&sandbox, &same, "another video");
}

#[test]
fn a_damaged_checkpoint_is_rejected() {
    let sandbox = stopped_run();
    let model = wide().model();
    let complete = sandbox.read(FILES[0]);
    let head = complete.iter().position(|&b| b == b'{').unwrap();
    for length in [0, 5, head, head + 40, complete.len() / 2, complete.len() - 1] {
        sandbox.write(FILES[0], &complete[..length]);
        expect_rejected(&sandbox, &args(&model), "checkpoint");
    }
    let mut flipped = complete.clone();
    *flipped.last_mut().unwrap() ^= 1;
    sandbox.write(FILES[0], &flipped);
    expect_rejected(&sandbox, &args(&model), "not a complete session");
    sandbox.write(FILES[0], b"PNG\r\n\x1a\n\x00\x01 something else");
    expect_rejected(&sandbox, &args(&model), "not a courtside checkpoint");
}

#[test]
fn a_checkpoint_without_its_detections_is_rejected() {
    let sandbox = stopped_run();
    let model = wide().model();
    let records = sandbox.read(FILES[1]);
    sandbox.write(FILES[1], &records[..20]);
    expect_rejected(&sandbox, &args(&model), "has only 0 of the");
    std::fs::remove_file(sandbox.path(FILES[1])).unwrap();
    expect_rejected(&sandbox, &args(&model), "run.checkpoint.detections");
}
