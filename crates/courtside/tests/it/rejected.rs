//! Requests that cannot succeed are rejected before tracking starts: with the documented exit code and a message that
//! names the cause, without temporary files, and without changing existing files.

use std::process::Command;

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Sandbox};

/// A sandbox with a short video and the results of an earlier run.
fn sandbox_with_results() -> Sandbox {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 12, "game.mkv");
    sandbox.write("tracks.json", "earlier results");
    sandbox
}

/// Tracks `game.mkv` with more arguments, which must fail without any change in the folder.
#[track_caller]
fn expect_rejected(sandbox: &Sandbox, extra: &[&str], code: i32, words: &[&str]) -> RunOutput {
    let model = wide().model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball"];
    let args = [&args[..], extra].concat();
    let before = (sandbox.names(), sandbox.read("tracks.json"));
    let output = sandbox.run(&args).expect(code, words);
    assert!((sandbox.names(), sandbox.read("tracks.json")) == before, "{:?}", sandbox.names());
    assert_eq!(output.stdout, "");
    output
}

#[test]
fn outputs_that_cannot_be_written_are_rejected() {
    let sandbox = sandbox_with_results();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    expect_rejected(&sandbox, &["--out", "nowhere/t.json"], 1, &["nowhere/t.json", "create it first"]);
    expect_rejected(&sandbox, &["--mot", "folder"], 1, &["folder: is a folder"]);
    expect_rejected(&sandbox, &["--mot", ".."], 1, &["..: is a folder"]);
    expect_rejected(&sandbox, &["--out", "/proc/t.json"], 1, &["/proc"]);
}

#[test]
fn the_input_video_is_not_overwritten() {
    let sandbox = sandbox_with_results();
    let before = sandbox.read("game.mkv");
    std::os::unix::fs::symlink("game.mkv", sandbox.path("link.mkv")).unwrap();
    for name in ["game.mkv", "./game.mkv", "link.mkv"] {
        expect_rejected(&sandbox, &["--annotated", name], 1, &[name, "it is the input video"]);
    }
    assert!(sandbox.read("game.mkv") == before);
}

#[test]
fn one_file_for_two_outputs_is_rejected() {
    let sandbox = sandbox_with_results();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    for name in ["tracks.json", "./tracks.json", "folder/../tracks.json"] {
        expect_rejected(&sandbox, &["--mot", name], 1, &[name, "it is named for two outputs"]);
    }
    expect_rejected(&sandbox, &["--out", "a", "--dump", "a"], 1, &["a: it is named for two outputs"]);
    let spool = ["--checkpoint", "c", "--mot", "c.detections"];
    expect_rejected(&sandbox, &spool, 1, &["c.detections: it is named for two outputs"]);
}

/// Results are written to a temporary file and renamed, which would replace the device or pipe.
#[test]
fn pipes_and_devices_are_rejected_as_outputs() {
    let sandbox = sandbox_with_results();
    assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
    expect_rejected(&sandbox, &["--out", "pipe"], 1, &["pipe: is not a regular file"]);
    expect_rejected(&sandbox, &["--checkpoint", "pipe"], 1, &["pipe: is not a regular file"]);
}

#[test]
fn frame_ranges_outside_the_video_are_rejected() {
    let sandbox = sandbox_with_results();
    expect_rejected(&sandbox, &["--from", "12"], 1, &["game.mkv has frames 0 to 11", "--from"]);
    expect_rejected(&sandbox, &["--from", "6", "--to", "5"], 1, &["none from 6 to 5"]);
    expect_rejected(&sandbox, &["--from", "18446744073709551615"], 1, &["0 to 11"]);
}

#[test]
fn invalid_prompts_are_rejected() {
    let sandbox = sandbox_with_results();
    let long = vec!["player"; 100].join(" ");
    let output = expect_rejected(&sandbox, &["--prompt", &long], 1, &["prompt"]);
    assert!(output.stderr.len() < 2000, "{}", output.stderr);
    expect_rejected(&sandbox, &["--prompt", ""], 1, &["prompt"]);
}

#[test]
fn a_missing_ffmpeg_is_reported() {
    let sandbox = sandbox_with_results();
    let model = wide().model();
    let mut command = sandbox.command(&["track", "game.mkv", "--model", &model]);
    let output = RunOutput::new(command.env("PATH", sandbox.home()).output().unwrap());
    output.expect(3, &["ffmpeg was not found on PATH", "COURTSIDE_FFMPEG"]);
    assert_eq!(sandbox.names(), ["game.mkv", "tracks.json"]);
}

/// Simulates a full disk with a limit on the size of files.
#[test]
fn a_full_disk_keeps_earlier_results() {
    let sandbox = sandbox_with_results();
    let model = wide().model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball"];
    let with_checkpoint = [&args[..], &["--checkpoint", "c"]].concat();
    // A block has 512 bytes. The detections need more than one block, the results more than two.
    for (blocks, args, word) in [
        (1, &args[..], "cannot write detections next to tracks.json"),
        (2, &args[..], "cannot write tracks.json"),
        (1, &with_checkpoint[..], "cannot write c.detections"),
        (2, &with_checkpoint[..], "cannot write c\n"),
    ] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let output = RunOutput::new(sandbox.shell(&script, args).output().unwrap());
        output.expect(1, &[word, "File too large"]);
        let names = sandbox.names();
        let unexpected = names.iter().find(|n| !["c.detections", "game.mkv", "tracks.json"].contains(&&***n));
        assert_eq!(unexpected, None);
        assert_eq!(sandbox.read("tracks.json"), b"earlier results");
    }
}

#[test]
fn an_invalid_source_date_epoch_is_rejected() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 3, "game.mkv");
    for date in ["yesterday", "99999999999999"] {
        let mut command =
            sandbox.command(&["track", "game.mkv", "--model", &fixture.model(), "--prompt", "ball"]);
        command.env("SOURCE_DATE_EPOCH", date);
        RunOutput::new(command.output().unwrap()).expect(3, &["SOURCE_DATE_EPOCH", date]);
        assert!(!sandbox.path("tracks.json").exists());
    }
}

#[test]
fn unavailable_devices_are_rejected() {
    let sandbox = sandbox_with_results();
    expect_rejected(&sandbox, &["--device", "gpu"], 2, &["--device", "auto, cpu, cuda"]);
    expect_rejected(&sandbox, &["--device", "cuda"], 3, &["cuda:0", "scripts/cuda/build_cuda.sh"]);
    expect_rejected(&sandbox, &["--device", "metal"], 3, &["metal:0", "--features metal"]);
    expect_rejected(&sandbox, &["--kernels", "fused"], 3, &["CPU", "no fused kernels"]);
    sandbox.run(&["bench", "--verify"]).expect(3, &["CPU", "scripts/cuda/build_cuda.sh"]);
}
