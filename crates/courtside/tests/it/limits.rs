//! Low limits of the process (`ulimit`): a command works, or says what is short. It neither panics nor aborts.

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Sandbox};

/// Runs the program under a limit such as `-n 8`.
fn run(sandbox: &Sandbox, limit: &str, args: &[&str]) -> RunOutput {
    RunOutput::new(sandbox.shell(&format!("ulimit {limit}; exec \"$@\""), args).output().unwrap())
}

#[test]
fn few_open_files_are_named() {
    let sandbox = Sandbox::new();
    wide().video(&sandbox, 2, "game.mkv");
    for n in [5, 6, 7, 8, 9, 12, 16] {
        for args in [&["status"][..], &["serve", "--port", "0"], &["submit", "game.mkv"], &["doctor"]] {
            let output = run(&sandbox, &format!("-n {n}"), args);
            output.expect(1, &[&format!("may open only {n} files"), "`ulimit -n 1024`"]);
        }
    }
    // A limit that may be raised is.
    run(&sandbox, "-Sn 8", &["status"]).expect(0, &[]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_lack_of_memory_is_named() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 2, "game.mkv");
    for mebibytes in [100, 150, 200, 250, 300, 350, 400] {
        for command in [&["track", "game.mkv"][..], &["worker", "--local", "--once"]] {
            let model = fixture.model();
            let args = [command, &["--model", &model]].concat();
            let output = run(&sandbox, &format!("-v {}", mebibytes << 10), &args);
            assert!(matches!(output.code, Some(0..=5)), "{mebibytes} MiB: {args:?}: {output:?}");
            assert!(!output.stderr.contains("panicked"), "{mebibytes} MiB: {args:?}: {output:?}");
        }
    }
    // Whether the program or ffmpeg is the first to need more than the limit depends on the machine. This needs no ffmpeg.
    let output = run(&sandbox, "-v 250000", &["bench", "--config", "real", "--tracks", "0", "--frames", "1"]);
    output.expect(1, &["out of memory", "`ulimit -v`"]);
}
