//! Files of the work folder that lose what was written to them while a worker runs, and checkpoints that no worker can
//! have made. A job is completed with the detections of a run without faults, or not at all.

use std::fs::File;
use std::path::{Path, PathBuf};

use s3_fixture::FakeR2;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Machine, detections_without_faults};
use crate::sandbox::{RunOutput, Running};

/// Long enough to change files in the middle, even on a fast machine.
const N_FRAMES: usize = 120;
/// Bytes of a detection in the spool.
const RECORD: u64 = 40;

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn truncate(path: &Path, size: u64) {
    File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

/// A machine with a server, and its job.
fn submitted() -> (FakeR2, Machine, String) {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(N_FRAMES, &[]);
    (server, machine, job)
}

/// A file in the work folder of a job.
fn work_file(machine: &Machine, job: &str, name: &str) -> PathBuf {
    machine.sandbox.path("work").join(job).join(name)
}

fn start(machine: &Machine, interval: &str) -> Running {
    machine.start_worker(&["--work-dir", "work", "--checkpoint-interval", interval, "--once"])
}

#[test]
fn a_job_whose_detections_are_truncated_under_its_worker_has_no_gap() {
    // With checkpoints in the bucket, and without: then the job starts over.
    for (interval, message) in [("0.1", "going back to the"), ("1000", "going back to the last checkpoint")] {
        let (_server, machine, job) = submitted();
        let spool = work_file(&machine, &job, "run.checkpoint.detections");
        let mut worker = start(&machine, interval);
        worker.wait_for("detections on disk", || (size(&spool) > 60 * RECORD).then_some(()));
        truncate(&spool, 20 * RECORD);
        let output = worker.wait().expect(0, &[message]);
        assert_eq!(output.json()["completed"][0], job.as_str());
        let after = machine.status(&job);
        assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("completed"), Some(1)));
        let log = machine.run(&["logs", &job]).expect(0, &[]).stdout;
        assert!(log.contains(message), "{log}");
        machine.import(&job);
        assert_eq!(machine.detections(), detections_without_faults(N_FRAMES), "interval {interval}");
    }
}

#[test]
fn a_job_whose_video_is_truncated_under_its_worker_is_tracked_again() {
    let (server, machine, job) = submitted();
    let video = work_file(&machine, &job, "video.mkv");
    let checkpoint = work_file(&machine, &job, "run.checkpoint");
    let mut worker = start(&machine, "0.1");
    worker.wait_for("a checkpoint", || checkpoint.exists().then_some(()));
    truncate(&video, size(&video) / 2);
    worker.wait().expect(5, &["was changed"]);
    let after = machine.status(&job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert!(after["error"].as_str().unwrap().contains("was changed"), "{after}");
    assert!(!server.keys().iter().any(|key| key.starts_with("results/")), "{:?}", server.keys());
    RunOutput::new(machine.worker(&["--once", "--work-dir", "work"]).output().unwrap()).expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

/// A job whose worker was stopped after a checkpoint, in a folder.
fn stopped() -> (Machine, String) {
    let machine = Machine::with_folder();
    let job = machine.submit(N_FRAMES, &[]);
    let manifest = machine.object(&format!("jobs/{job}.json"));
    let mut worker = machine.start_worker(&["--checkpoint-interval", "0.1", "--once"]);
    worker.wait_for("a checkpoint with detections", || {
        let manifest: Value = serde_json::from_slice(&std::fs::read(&manifest).ok()?).ok()?;
        (manifest["checkpoint"]["files"][1]["size_bytes"].as_u64()? > 20 * RECORD).then_some(())
    });
    worker.signal("TERM");
    worker.wait().expect(130, &[]);
    (machine, job)
}

/// The parts of a checkpoint: the numbers of the run, the tracker's state, and the detections.
struct Parts {
    header: Value,
    session: Vec<u8>,
    detections: Vec<u8>,
}

/// Changes the checkpoint in the bucket; the manifest then has the sizes and digests of the changed files.
fn forge(machine: &Machine, job: &str, change: impl FnOnce(&mut Parts)) {
    let path = machine.object(&format!("jobs/{job}.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let files = manifest["checkpoint"]["files"].as_array_mut().unwrap();
    let file = |stored: &Value| machine.object(stored["key"].as_str().unwrap());
    let [state, detections] = [file(&files[0]), file(&files[1])];
    let bytes = std::fs::read(&state).unwrap();
    let mut lines = bytes.splitn(3, |&b| b == b'\n');
    let magic = lines.next().unwrap();
    let header = serde_json::from_slice(lines.next().unwrap()).unwrap();
    let session = lines.next().unwrap().to_vec();
    let mut parts = Parts { header, session, detections: std::fs::read(&detections).unwrap() };
    change(&mut parts);
    let header = parts.header.to_string();
    let contents = [[magic, b"\n", header.as_bytes(), b"\n", &parts.session].concat(), parts.detections];
    for ((stored, path), content) in files.iter_mut().zip([state, detections]).zip(contents) {
        stored["size_bytes"] = content.len().into();
        stored["sha256"] = format!("{:x}", Sha256::digest(&content)).into();
        std::fs::write(path, content).unwrap();
    }
    std::fs::write(path, manifest.to_string()).unwrap();
}

/// A change of a checkpoint, and what the worker says about it.
type Forgery = (&'static str, fn(&mut Parts), &'static str);

const FORGERIES: [Forgery; 8] = [
    (
        "zeros in place of detections, without digests",
        |parts| {
            parts.detections.fill(0);
            parts.header.as_object_mut().unwrap().remove("detections");
        },
        "impossible detection",
    ),
    ("zeros in place of detections", |parts| parts.detections.fill(0), "was changed"),
    ("fewer detections", |parts| parts.detections.truncate(RECORD as usize), "has only 1 of the"),
    (
        "a number of detections without digests",
        |parts| parts.header["position"]["n_detections"] = 3.into(),
        "was changed",
    ),
    (
        "a frame of the future",
        |parts| parts.header["position"]["next_frame"] = 1_000_000.into(),
        "it resumes at",
    ),
    ("more frames than there were", |parts| parts.header["position"]["n_frames"] = 119.into(), "frames"),
    ("frames that wait out of order", |parts| parts.header["position"]["waiting"] = json!([9, 9]), "wait"),
    ("no tracker", |parts| parts.session.truncate(100), "not a complete session"),
];

#[test]
fn a_forged_checkpoint_starts_the_job_over_without_a_failed_attempt() {
    for (what, change, message) in FORGERIES {
        let (machine, job) = stopped();
        forge(&machine, &job, change);
        machine.run_worker_once().expect(0, &["starting from the beginning", message]);
        let after = machine.status(&job);
        assert_eq!(
            (after["status"].as_str(), after["attempt"].as_u64()),
            (Some("completed"), Some(2)),
            "{what}"
        );
        machine.import(&job);
        assert_eq!(machine.detections(), detections_without_faults(N_FRAMES), "{what}");
    }
}

#[test]
fn a_checkpoint_of_an_earlier_version_is_resumed() {
    let (machine, job) = stopped();
    forge(&machine, &job, |parts| {
        assert!(parts.header.as_object_mut().unwrap().remove("detections").is_some());
    });
    let output = machine.run_worker_once().expect(0, &["resuming at frame"]);
    assert!(!output.stderr.contains("starting from the beginning"), "{}", output.stderr);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}
