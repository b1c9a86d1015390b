//! What cannot be done is refused before any tracking: the right exit code, the thing by name, no
//! temporary files, and what was there before untouched.

use std::process::Command;

use crate::fixture::wide;
use crate::program::{Place, Ran};

/// A place with a short video and results of an earlier run.
fn place() -> Place {
    let place = Place::new();
    wide().video(&place, 12, "game.mkv");
    place.write("tracks.json", "of an earlier run");
    place
}

/// Tracks `game.mkv` with more arguments; nothing may change in the folder.
#[track_caller]
fn refused(place: &Place, extra: &[&str], code: i32, words: &[&str]) -> Ran {
    let model = wide().model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball"];
    unchanged(place, &[&args[..], extra].concat(), code, words)
}

#[track_caller]
fn unchanged(place: &Place, args: &[&str], code: i32, words: &[&str]) -> Ran {
    let before = (place.names(), place.read("tracks.json"));
    let ran = place.run(args).expect(code, words);
    assert!((place.names(), place.read("tracks.json")) == before, "{:?}", place.names());
    assert_eq!(ran.stdout, "");
    ran
}

#[test]
fn outputs_that_cannot_be_written() {
    let place = place();
    std::fs::create_dir(place.path("folder")).unwrap();
    refused(&place, &["--out", "nowhere/t.json"], 1, &["nowhere/t.json", "create it first"]);
    refused(&place, &["--mot", "folder"], 1, &["folder: is a folder"]);
    refused(&place, &["--mot", ".."], 1, &["..: is a folder"]);
    refused(&place, &["--out", "/proc/t.json"], 1, &["/proc"]);
}

#[test]
fn the_video_as_output() {
    let place = place();
    let before = place.read("game.mkv");
    std::os::unix::fs::symlink("game.mkv", place.path("link.mkv")).unwrap();
    for name in ["game.mkv", "./game.mkv", "link.mkv"] {
        refused(&place, &["--annotated", name], 1, &[name, "is the video itself"]);
    }
    assert!(place.read("game.mkv") == before);
}

#[test]
fn one_file_for_two_outputs() {
    let place = place();
    std::fs::create_dir(place.path("folder")).unwrap();
    for name in ["tracks.json", "./tracks.json", "folder/../tracks.json"] {
        refused(&place, &["--mot", name], 1, &[name, "is named twice"]);
    }
    refused(&place, &["--out", "a", "--dump", "a"], 1, &["a: is named twice"]);
    let spool = ["--checkpoint", "c", "--mot", "c.detections"];
    refused(&place, &spool, 1, &["c.detections: is named twice"]);
}

/// Results are written under another name and renamed, which would replace the device or pipe itself.
#[test]
fn a_pipe_or_a_device_as_output() {
    let place = place();
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    refused(&place, &["--out", "pipe"], 1, &["pipe: is not a regular file"]);
    refused(&place, &["--checkpoint", "pipe"], 1, &["pipe: is not a regular file"]);
}

#[test]
fn frames_that_the_video_does_not_have() {
    let place = place();
    refused(&place, &["--from", "12"], 1, &["game.mkv has frames 0 to 11", "--from"]);
    refused(&place, &["--from", "6", "--to", "5"], 1, &["none from 6 to 5"]);
    refused(&place, &["--from", "18446744073709551615"], 1, &["0 to 11"]);
}

#[test]
fn prompts_that_the_model_cannot_take() {
    let place = place();
    let long = vec!["player"; 100].join(" ");
    let ran = refused(&place, &["--prompt", &long], 1, &["prompt"]);
    assert!(ran.stderr.len() < 2000, "{}", ran.stderr);
    refused(&place, &["--prompt", ""], 1, &["prompt"]);
}

#[test]
fn no_ffmpeg() {
    let place = place();
    let model = wide().model();
    let mut command = place.command(&["track", "game.mkv", "--model", &model]);
    let ran = Ran::of(command.env("PATH", place.home()).output().unwrap());
    ran.expect(3, &["ffmpeg was not found on PATH", "COURTSIDE_FFMPEG"]);
    assert_eq!(place.names(), ["game.mkv", "tracks.json"]);
}

/// A disk that is full, as far as the program can tell: files may not grow beyond a few blocks.
#[test]
fn a_full_disk() {
    let place = place();
    let model = wide().model();
    let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball"];
    let with_checkpoint = [&args[..], &["--checkpoint", "c"]].concat();
    // Blocks of 512 bytes; the detections take more than one, the results more than two.
    for (blocks, args, word) in [
        (1, &args[..], "cannot write detections beside tracks.json"),
        (2, &args[..], "cannot write tracks.json"),
        (1, &with_checkpoint[..], "cannot write c.detections"),
        (2, &with_checkpoint[..], "cannot write c\n"),
    ] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let ran = Ran::of(place.shell(&script, args).output().unwrap());
        ran.expect(1, &[word, "File too large"]);
        let names = place.names();
        let strange = names.iter().find(|n| !["c.detections", "game.mkv", "tracks.json"].contains(&&***n));
        assert_eq!(strange, None);
        assert_eq!(place.read("tracks.json"), b"of an earlier run");
    }
}

#[test]
fn a_date_that_is_none() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, 3, "game.mkv");
    for date in ["yesterday", "99999999999999"] {
        let mut command =
            place.command(&["track", "game.mkv", "--model", &fixture.model(), "--prompt", "ball"]);
        command.env("SOURCE_DATE_EPOCH", date);
        Ran::of(command.output().unwrap()).expect(3, &["SOURCE_DATE_EPOCH", date]);
        assert!(!place.path("tracks.json").exists());
    }
}

#[test]
fn devices_that_this_build_or_machine_does_not_have() {
    let place = place();
    refused(&place, &["--device", "gpu"], 2, &["--device", "auto, cpu, cuda"]);
    refused(&place, &["--device", "cuda"], 3, &["cuda:0", "scripts/cuda/build_cuda.sh"]);
    refused(&place, &["--device", "metal"], 3, &["metal:0", "--features metal"]);
    refused(&place, &["--kernels", "fused"], 3, &["CPU", "no fused kernels"]);
    place.run(&["bench", "--verify"]).expect(3, &["CPU", "scripts/cuda/build_cuda.sh"]);
}
