//! Signals: which stop a run, and which do not.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::continuing::{N_FRAMES, args, wait_for_frames};
use crate::fixture::wide;
use crate::program::{Place, Ran, Running};

/// Starts the program by a line of the shell, waits until it tracks, does something to it, waits for its end.
fn track(place: &Place, script: &str, act: impl FnOnce(&mut Running)) -> Ran {
    let fixture = wide();
    fixture.video(place, N_FRAMES, "game.mkv");
    let mut command = place.shell(script, &args(&fixture.model()));
    command.process_group(0);
    let mut running = Running::start(command);
    wait_for_frames(&mut running, place, 2);
    act(&mut running);
    running.end()
}

fn check_stopped(place: &Place) {
    let done = place.json("tracks.json")["frames_processed"].as_u64().unwrap();
    assert!((2..N_FRAMES as u64).contains(&done), "{done} frames");
    assert!(place.path("run.checkpoint").exists());
}

#[test]
fn sigterm_stops_like_ctrl_c() {
    let place = Place::new();
    track(&place, "exec \"$@\"", |running| running.signal("TERM")).expect(130, &["stopped: after "]);
    check_stopped(&place);
}

#[test]
fn ctrl_c_of_a_terminal_reaches_the_decoder_too() {
    let place = Place::new();
    let to_group = |running: &mut Running| {
        let kill = format!("kill -s INT -- -{}", running.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    let ran = track(&place, "exec \"$@\"", to_group).expect(130, &["stopped: after "]);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    check_stopped(&place);
}

#[test]
fn a_closed_terminal_stops_a_run() {
    let place = Place::new();
    // Nobody reads standard error any more, as behind `2>&1 | tee` after Ctrl-C.
    let hang_up = |running: &mut Running| {
        running.close_stderr();
        running.signal("HUP");
    };
    track(&place, "exec \"$@\"", hang_up).expect(130, &[]);
    check_stopped(&place);
}

#[test]
fn under_nohup_a_closed_terminal_does_not_stop_a_run() {
    let place = Place::new();
    track(&place, "trap '' HUP; exec \"$@\"", |running| running.signal("HUP")).expect(0, &[]);
    assert_eq!(place.json("tracks.json")["frames_processed"], N_FRAMES);
}

/// Whether a process has a handler for SIGINT, as the kernel has it.
#[cfg(target_os = "linux")]
fn listens(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (libc::SIGINT - 1)) != 0
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_checkpoint_a_stopped_run_tells_of_it() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, N_FRAMES, "game.mkv");
    let args = ["track", "game.mkv", "--model", &fixture.model(), "--prompt", "ball"];
    let mut running = Running::start(place.command(&args));
    let id = running.id();
    running.wait_for("a handler of Ctrl-C", || listens(id).then_some(()));
    running.signal("INT");
    running.end().expect(130, &["stopped: after ", "next time add --checkpoint FILE"]);
    assert!(place.json("tracks.json")["frames_processed"].as_u64() < Some(N_FRAMES as u64));
    assert_eq!(place.names(), ["game.mkv", "tracks.json"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_decoder_that_dies_leaves_what_there_is() {
    let place = Place::new();
    let kill_decoder = |running: &mut Running| {
        let child = child_of(running.id()).expect("a decoder runs");
        assert!(Command::new("kill").args(["-KILL", &child.to_string()]).status().unwrap().success());
    };
    let words = ["tracking failed after", "run the same command again"];
    track(&place, "exec \"$@\"", kill_decoder).expect(5, &words);
    check_stopped(&place);
}

/// A process whose parent is `parent`.
#[cfg(target_os = "linux")]
fn child_of(parent: u32) -> Option<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut ids = processes.filter_map(|name| name.parse::<u32>().ok());
    ids.find(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name in brackets: the state, then the parent.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    })
}

#[test]
fn a_checkpoint_serves_one_run_at_a_time() {
    let place = Place::new();
    let start_another = |running: &mut Running| {
        let model = wide().model();
        place.run(&args(&model)).expect(1, &["run.checkpoint.detections is in use by another run"]);
        running.signal("TERM");
    };
    track(&place, "exec \"$@\"", start_another).expect(130, &[]);
    check_stopped(&place);
}
