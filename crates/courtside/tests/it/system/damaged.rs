//! Videos of which some frames cannot be decoded: how many, and where, is part of everything that reports the job.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Machine;
use crate::fixture::wide;

const N_FRAMES: usize = 40;

/// Creates `game.mp4`, in which every frame can be decoded alone, and overwrites the frames `lost` with zeros.
fn damaged_video(machine: &Machine, lost: std::ops::Range<usize>) {
    let complete = wide().video(&machine.sandbox, N_FRAMES, "complete.mkv");
    let path = machine.sandbox.path("game.mp4");
    ffmpeg(&complete, &["-c:v", "libx264", "-qp", "4", "-g", "1", "-pix_fmt", "yuv420p"], &path);
    std::fs::remove_file(complete).unwrap();
    let packets = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=pos,size", "-of", "csv=p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let packets = String::from_utf8(packets.stdout).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for packet in packets.lines().skip(lost.start).take(lost.len()) {
        let (size, position) = packet.split_once(',').unwrap();
        let (size, position): (usize, usize) = (size.parse().unwrap(), position.parse().unwrap());
        bytes[position..position + size].fill(0);
    }
    std::fs::write(path, bytes).unwrap();
}

fn ffmpeg(input: &Path, options: &[&str], output: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(input).args(options).arg(output);
    assert!(command.status().unwrap().success());
}

fn submit(machine: &Machine, more: &[&str]) -> String {
    let args = [&["--json", "submit", "game.mp4", "--prompt", "ball"], more].concat();
    machine.run(&args).expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned()
}

/// The share and the place of lost frames were only in the worker's log.
#[test]
fn lost_frames_are_part_of_results_manifest_status_and_library() {
    let machine = Machine::with_folder();
    damaged_video(&machine, 10..13);
    let job = submit(&machine, &[]);
    machine.run_worker_once().expect(0, &["3 of 40 frames (7.5%) could not be decoded: 10 to 12"]);
    let missing = json!({ "count": 3, "expected": 40, "ranges": [[10, 12]] });
    let results = std::fs::read(machine.object(&format!("results/{job}.json"))).unwrap();
    let results: serde_json::Value = serde_json::from_slice(&results).unwrap();
    assert_eq!((&results["missing_frames"], &results["frames_processed"]), (&missing, &json!(37)));
    let status = machine.status(&job);
    assert_eq!(status["missing_frames"], missing);
    assert!(status["warnings"].to_string().contains("3 of 40 frames"), "{status}");
    assert!(machine.run(&["status"]).expect(0, &[]).stdout.contains("ready to import, 3 frames missing"));
    let imported = machine.run(&["--json", "import", "--job-id", &job]).expect(0, &["3 of 40 frames"]).json();
    assert_eq!(imported["imported"][0]["missing_frames"], missing);
    let database = rusqlite::Connection::open(machine.sandbox.path("basketball_analyzer.db")).unwrap();
    let result: String =
        database.query_row("SELECT result FROM processing_jobs", [], |row| row.get("result")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&result).unwrap()["missing_frames"], missing);
}

/// A file of which little could be decoded ended as completed.
#[test]
fn too_many_lost_frames_fail_the_job_unless_they_are_allowed() {
    let machine = Machine::with_folder();
    damaged_video(&machine, 10..20);
    let job = submit(&machine, &[]);
    machine.run_worker_once().expect(5, &["--max-missing allows 10%"]);
    let failed = machine.status(&job);
    assert_eq!((&failed["status"], &failed["attempt"]), (&json!("failed"), &json!(1)));
    assert!(failed["error"].as_str().unwrap().contains("could not be decoded: 10 to"), "{failed}");
    let job = submit(&machine, &["--max-missing", "0.5"]);
    machine.run_worker_once().expect(0, &[]);
    assert_eq!(machine.status(&job)["missing_frames"]["count"], 10);
    let (model, args) = (wide().model(), ["track", "game.mp4", "--prompt", "ball", "--model"]);
    machine.run(&[&args[..], &[&model]].concat()).expect(1, &["--max-missing"]);
    machine.run(&[&args[..], &[&model, "--max-missing", "1"]].concat()).expect(0, &["10 of 40 frames"]);
}

/// An encrypted video was submitted, tracked and imported with no detections.
#[test]
fn a_video_that_cannot_be_decoded_at_all_is_not_submitted() {
    let machine = Machine::with_folder();
    let complete = wide().video(&machine.sandbox, N_FRAMES, "complete.mkv");
    let key = "0123456789abcdef0123456789abcdef";
    for codec in [&["-c:v", "libx264", "-pix_fmt", "yuv420p"][..], &["-c:v", "mpeg4"]] {
        let encrypted = [codec, &["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key]].concat();
        let path = machine.sandbox.path("game.mp4");
        ffmpeg(&complete, &[&encrypted[..], &["-encryption_kid", key]].concat(), &path);
        machine.run(&["submit", "game.mp4"]).expect(1, &["game.mp4 is not a readable video"]);
    }
}
