//! Signals and closed terminals: which of them stop a run.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::fixture::wide;
use crate::resume::{N_FRAMES, args, wait_for_frames};
use crate::sandbox::{RunOutput, Running, Sandbox};

/// Starts a run through a shell script, calls `act` once frames are tracked, and waits for the end of the run.
fn track_and(sandbox: &Sandbox, script: &str, act: impl FnOnce(&mut Running)) -> RunOutput {
    let fixture = wide();
    fixture.video(sandbox, N_FRAMES, "game.mkv");
    let mut command = sandbox.shell(script, &args(&fixture.model()));
    command.process_group(0);
    let mut running = Running::start(command);
    wait_for_frames(&mut running, sandbox, 2);
    act(&mut running);
    running.wait()
}

fn check_stopped(sandbox: &Sandbox) {
    let done = sandbox.json("tracks.json")["frames_processed"].as_u64().unwrap();
    assert!((2..N_FRAMES as u64).contains(&done), "{done} frames");
    assert!(sandbox.path("run.checkpoint").exists());
}

#[test]
fn sigterm_stops_like_ctrl_c() {
    let sandbox = Sandbox::new();
    track_and(&sandbox, "exec \"$@\"", |running| running.signal("TERM")).expect(130, &["stopped: tracked "]);
    check_stopped(&sandbox);
}

#[test]
fn ctrl_c_in_a_terminal_stops_the_run_without_warnings() {
    let sandbox = Sandbox::new();
    // A terminal sends SIGINT to the process group, including the decoder.
    let signal_group = |running: &mut Running| {
        let kill = format!("kill -s INT -- -{}", running.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    let output = track_and(&sandbox, "exec \"$@\"", signal_group).expect(130, &["stopped: tracked "]);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    check_stopped(&sandbox);
}

#[test]
fn a_closed_terminal_stops_a_run() {
    let sandbox = Sandbox::new();
    // Standard error is closed, as with `2>&1 | tee` after Ctrl-C.
    let hang_up = |running: &mut Running| {
        running.close_stderr();
        running.signal("HUP");
    };
    track_and(&sandbox, "exec \"$@\"", hang_up).expect(130, &[]);
    check_stopped(&sandbox);
}

#[test]
fn a_closed_terminal_does_not_stop_a_run_under_nohup() {
    let sandbox = Sandbox::new();
    track_and(&sandbox, "trap '' HUP; exec \"$@\"", |running| running.signal("HUP")).expect(0, &[]);
    assert_eq!(sandbox.json("tracks.json")["frames_processed"], N_FRAMES);
}

/// Whether a process has installed a handler for SIGINT.
#[cfg(target_os = "linux")]
fn handles_sigint(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (libc::SIGINT - 1)) != 0
}

#[cfg(target_os = "linux")]
#[test]
fn a_stopped_run_without_checkpoint_hints_at_the_flag() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, N_FRAMES, "game.mkv");
    let args = ["track", "game.mkv", "--model", &fixture.model(), "--prompt", "ball"];
    let mut running = Running::start(sandbox.command(&args));
    let id = running.id();
    running.wait_for("a handler of Ctrl-C", || handles_sigint(id).then_some(()));
    running.signal("INT");
    running.wait().expect(130, &["stopped: tracked ", "add --checkpoint FILE"]);
    assert!(sandbox.json("tracks.json")["frames_processed"].as_u64() < Some(N_FRAMES as u64));
    assert_eq!(sandbox.names(), ["game.mkv", "tracks.json"]);
}

#[test]
#[cfg(target_os = "linux")]
fn partial_results_are_written_if_the_decoder_dies() {
    let sandbox = Sandbox::new();
    let kill_decoder = |running: &mut Running| {
        let child = child_of(running.id()).expect("a decoder runs");
        assert!(Command::new("kill").args(["-KILL", &child.to_string()]).status().unwrap().success());
    };
    let words = ["tracking failed after", "run the same command again"];
    track_and(&sandbox, "exec \"$@\"", kill_decoder).expect(5, &words);
    check_stopped(&sandbox);
}

/// The ID of a child process.
#[cfg(target_os = "linux")]
fn child_of(parent: u32) -> Option<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ids = processes.filter_map(|name| name.parse::<u32>().ok());
    ids.find(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The fields after the name in parentheses are the state and the parent.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    })
}

#[test]
fn a_checkpoint_is_locked_by_its_run() {
    let sandbox = Sandbox::new();
    let start_another = |running: &mut Running| {
        let model = wide().model();
        sandbox.run(&args(&model)).expect(1, &["run.checkpoint.detections is in use by another run"]);
        running.signal("TERM");
    };
    track_and(&sandbox, "exec \"$@\"", start_another).expect(130, &[]);
    check_stopped(&sandbox);
}
