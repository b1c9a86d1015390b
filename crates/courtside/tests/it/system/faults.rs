//! Workers that are killed, stopped, paused or disconnected, and interrupted uploads and imports.

use std::time::{Duration, Instant};

use s3_fixture::{FakeR2, Fault, Gate, RealServer};

use super::{Machine, detections_without_faults};
use crate::sandbox::{RunOutput, Running};

/// Long enough to stop a worker in the middle, even on a fast machine.
const N_FRAMES: usize = 120;

/// Flags of a worker that saves frequent checkpoints.
const FREQUENT_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "0.2"];

fn frames_processed(machine: &Machine, job: &str) -> u64 {
    machine.status(job)["frames_processed"].as_u64().unwrap_or(0)
}

/// A job in progress, with everything that must stay alive.
struct StartedJob {
    server: FakeR2,
    machine: Machine,
    job: String,
    worker: Running,
    other: Machine,
}

/// Starts a job on another machine and waits for its first checkpoint in the bucket.
fn start_job() -> StartedJob {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(N_FRAMES, &[]);
    let other = machine.another_machine();
    let mut worker = other.start_worker(&[&FREQUENT_CHECKPOINTS[..], &["--once"]].concat());
    worker.wait_for("a checkpoint", || {
        let attempts =
            machine.run(&["--json", "logs", &job]).json()["attempts"].as_array().map_or(0, Vec::len);
        (attempts > 0).then_some(())
    });
    StartedJob { server, machine, job, worker, other }
}

#[test]
fn a_job_survives_twenty_killed_workers() {
    let server = RealServer::any();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(N_FRAMES, &["--max-attempts", "100"]);
    for round in 0..20_u64 {
        let other = machine.another_machine();
        let mut worker = other.start_worker(&FREQUENT_CHECKPOINTS);
        // Moments from before the claim until well into the attempt.
        let moment = Duration::from_millis(150 + round * 397 % 3000);
        let started = Instant::now();
        worker.wait_for("the moment", || (started.elapsed() >= moment).then_some(()));
        worker.kill();
    }
    machine.another_machine().run_worker_once().expect(0, &[]);
    assert_eq!(machine.status(&job)["status"], "completed");
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

#[test]
fn a_stopped_worker_releases_its_job_and_the_next_resumes_it() {
    let StartedJob { server: _server, machine, job, worker: mut first, other: _other } = start_job();
    first.signal("TERM");
    let output = first.wait().expect(130, &["released the unfinished jobs"]);
    assert_eq!(output.json()["released"][0], job.as_str());
    let waiting = machine.status(&job);
    assert_eq!(waiting["status"], "pending");
    let done = frames_processed(&machine, &job);

    let second = machine.another_machine().run_worker_once().expect(0, &["resuming at frame"]);
    assert_eq!(second.json()["completed"][0], job.as_str());
    assert!(done < N_FRAMES as u64);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

#[test]
fn two_workers_do_not_share_a_job() {
    let server = RealServer::any();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(N_FRAMES, &[]);
    let both = [machine.another_machine(), machine.another_machine()];
    let workers: Vec<Running> = both.iter().map(|other| other.start_worker(&["--once"])).collect();
    let ended: Vec<RunOutput> = workers.into_iter().map(|worker| worker.wait().expect(0, &[])).collect();
    let completed = |output: &RunOutput| output.json()["completed"].as_array().unwrap().len();
    assert_eq!(ended.iter().map(completed).sum::<usize>(), 1);
    assert_eq!(machine.status(&job)["attempt"], 1);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

#[test]
fn a_paused_worker_notices_that_it_lost_its_job() {
    let StartedJob { server: _server, machine, job, worker: mut paused, other: _other } = start_job();
    paused.signal("STOP");
    let second = machine.another_machine().run_worker_once().expect(0, &[]);
    assert_eq!(second.json()["completed"][0], job.as_str());
    paused.signal("CONT");
    let output = paused.wait().expect(0, &["lost: "]);
    assert_eq!(output.json()["lost"][0], job.as_str());
    let after = machine.status(&job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("completed"), Some(2)));
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

#[test]
fn a_worker_survives_outages_of_the_server() {
    let StartedJob { server, machine, job, mut worker, other: _other } = start_job();
    for _ in 0..3 {
        server.stop();
        let since = Instant::now();
        worker.wait_for("a while", || (since.elapsed() > Duration::from_millis(700)).then_some(()));
        server.start_again();
        let since = Instant::now();
        worker.wait_for("a while", || (since.elapsed() > Duration::from_millis(300)).then_some(()));
    }
    worker.wait().expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

#[test]
fn a_cancelled_job_stops_its_worker() {
    let StartedJob { server: _server, machine, job, worker, other: _other } = start_job();
    machine.run(&["cancel", &job]).expect(0, &[]);
    let output = worker.wait().expect(0, &["lost: "]);
    assert_eq!(output.json()["lost"][0], job.as_str());
    assert_eq!(machine.status(&job)["status"], "cancelled");
    machine.run(&["import", "--job-id", &job]).expect(1, &["cancelled"]);
    // A retry resumes from the checkpoint.
    machine.run(&["retry", &job]).expect(0, &[]);
    machine.another_machine().run_worker_once().expect(0, &["resuming at frame"]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

/// Kills a submission after it has uploaded some parts of the video. Returns the ID of its job.
fn interrupted_upload() -> (FakeR2, Machine, String) {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    // The padding makes five parts.
    crate::fixture::wide().video(&machine.sandbox, 14, "game.mkv");
    pad(&machine, 70 << 20);
    server.set_latency(Duration::from_millis(150));
    let mut submitting = Running::start(machine.command(&["submit", "game.mkv", "--prompt", "ball"]));
    let parts = |server: &FakeR2| server.counts().of(s3_fixture::Op::UploadPart);
    submitting.wait_for("a part", || (parts(&server) >= 2).then_some(()));
    submitting.kill();
    server.set_latency(Duration::ZERO);
    let listed = machine.run(&["--json", "status"]).expect(0, &[]).json();
    let job = listed["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    (server, machine, job)
}

#[test]
fn an_interrupted_upload_resumes_with_the_same_job() {
    let (_server, machine, job) = interrupted_upload();
    let unfinished = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(unfinished.contains(&format!("courtside submit --resume {job}")), "{unfinished}");
    let submitted =
        machine.run(&["--json", "submit", "--video-id", "1", "--prompt", "ball"]).expect(0, &[]).json();
    assert_eq!(submitted["job_id"], job.as_str());
    machine.another_machine().run_worker_once().expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn an_interrupted_upload_can_be_cancelled() {
    let (server, machine, job) = interrupted_upload();
    assert_eq!(server.open_uploads().len(), 1);
    machine.run(&["rm", &job]).expect(1, &["is not uploaded yet", "--force"]);
    assert_eq!(machine.run(&["--json", "cancel", &job]).expect(0, &[]).json()["status"], "cancelled");
    // The bucket has no parts left that would cost money.
    assert_eq!((server.open_uploads().len(), server.keys().len()), (0, 0));
    let listed = machine.run(&["--json", "status"]).expect(0, &[]).json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(0));
    // A retry uploads the video from the start.
    machine.run(&["retry", &job]).expect(0, &[]);
    assert_eq!(machine.status(&job)["state"], "waiting");
}

#[test]
fn concurrent_imports_of_a_job_import_it_once() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(14, &[]);
    machine.another_machine().run_worker_once().expect(0, &[]);
    server.set_latency(Duration::from_millis(100));
    let import = || Running::start(machine.command(&["--json", "import", "--job-id", &job]));
    let both = [import(), import()].map(|running| running.wait().expect(0, &[]).json());
    let already: Vec<_> = both.iter().map(|ran| ran["imported"][0]["already"].as_bool().unwrap()).collect();
    assert!(already == [true, false] || already == [false, true], "{already:?}");
    assert_eq!(machine.detections(), detections_without_faults(14));
}

/// Starts a worker on a video whose third range of bytes is held back until the gate opens, and waits until it tracks.
fn track_during_download(corrupt: bool) -> (FakeR2, Machine, String, Gate, Running, Machine) {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    crate::fixture::wide().video(&machine.sandbox, 14, "game.mp4");
    append_free_box(&machine, 70 << 20);
    let submitted = machine.run(&["--json", "submit", "game.mp4", "--prompt", "ball"]).expect(0, &[]).json();
    let job = submitted["job_id"].as_str().unwrap().to_owned();
    let key = format!("videos/{job}.mp4");
    if corrupt {
        let mut bytes = server.object(&key).unwrap().body.to_vec();
        bytes[40 << 20] ^= 1;
        server.put(&key, bytes);
    }
    let gate = Gate::new();
    let held = gate.clone();
    server.set_faults(move |call| {
        (call.key == key && call.range_start == Some(32 << 20)).then(|| Fault::Hold(held.clone()))
    });
    let other = machine.another_machine();
    let mut worker = other.start_worker(&["--once", "--checkpoint-interval", "0.1"]);
    worker.wait_for("tracked frames", || (frames_processed(&machine, &job) > 0).then_some(()));
    (server, machine, job, gate, worker, other)
}

#[test]
fn tracking_starts_during_the_download() {
    let (server, machine, job, gate, worker, _other) = track_during_download(false);
    assert!(server.keys().iter().all(|key| !key.starts_with("checkpoints/")));
    gate.open();
    worker.wait().expect(0, &["tracking while the video is downloaded"]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn results_from_corrupt_bytes_are_discarded() {
    let (server, machine, job, gate, worker, _other) = track_during_download(true);
    gate.open();
    worker.wait().expect(5, &["tracking while the video is downloaded", "its SHA-256 is"]);
    assert_eq!(machine.status(&job)["status"], "pending");
    let left: Vec<String> = server.keys();
    assert!(
        !left.iter().any(|key| key.starts_with("checkpoints/") || key.starts_with("results/")),
        "{left:?}"
    );
}

#[test]
fn a_worker_stopped_during_the_download_releases_its_job() {
    let (_server, machine, job, gate, mut worker, _other) = track_during_download(false);
    worker.signal("TERM");
    let output = worker.wait().expect(130, &[]);
    assert_eq!(output.json()["released"][0], job.as_str());
    gate.open();
    machine.another_machine().run_worker_once().expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

/// Pads the video with a free-space box, which readers skip (ISO/IEC 14496-12 §8.1.2).
fn append_free_box(machine: &Machine, n_bytes: u32) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(machine.sandbox.path("game.mp4")).unwrap();
    file.write_all(&(n_bytes + 8).to_be_bytes()).unwrap();
    file.write_all(b"free").unwrap();
    file.write_all(&vec![7; n_bytes as usize]).unwrap();
}

/// A PATH with an ffmpeg that never decodes a frame.
#[cfg(unix)]
fn stuck_decoder(machine: &Machine) -> std::ffi::OsString {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap();
    let mut all = std::env::split_paths(&path).map(|folder| folder.join("ffmpeg"));
    let real = all.find(|file| file.is_file()).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *rawvideo*) exec sleep 600;; *) exec {} \"$@\";; esac\n",
        real.display()
    );
    machine.sandbox.write("ffmpeg", script);
    std::fs::set_permissions(machine.sandbox.path("ffmpeg"), PermissionsExt::from_mode(0o755)).unwrap();
    let first = machine.sandbox.folder().to_owned();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path))).unwrap()
}

#[test]
#[cfg(unix)]
fn a_stalled_attempt_fails() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = machine.submit(14, &[]);
    let other = machine.another_machine();
    let mut command = other.worker(&["--stall-timeout", "1"]);
    command.env("PATH", stuck_decoder(&other));
    // The worker exits, although it has no --once: its tracking thread cannot be stopped.
    let output = Running::start(command).wait().expect(5, &["no frame for 1 second after 0 frames", &job]);
    assert!(output.stderr.contains("this worker must be restarted"), "{output:?}");
    let after = machine.status(&job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert!(after["error"].as_str().unwrap().contains("no frame for"), "{after}");
    machine.another_machine().run_worker_once().expect(0, &[]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn an_unusable_work_folder_stops_the_worker_before_it_claims_jobs() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    let model = crate::fixture::wide().model();
    machine
        .run(&["worker", "--local", "--model", &model, "--work-dir", "game.mkv/work"])
        .expect(1, &["game.mkv/work"]);
    assert_eq!(machine.status(&job)["attempt"], 0);
}

#[test]
fn a_resumed_job_keeps_its_max_tracks() {
    let StartedJob { server: _server, machine, job, worker: mut first, other: _other } = start_job();
    first.signal("TERM");
    first.wait().expect(130, &[]);
    let second =
        RunOutput::new(machine.another_machine().worker(&["--once", "--max-tracks", "1"]).output().unwrap());
    second.expect(0, &["--max-tracks is 100 for this job", "resuming at frame"]);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(N_FRAMES));
}

/// Pads the video with an EBML Void element, which readers skip (RFC 8794 §11.3.2).
pub(crate) fn pad(machine: &Machine, n_bytes: u64) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(machine.sandbox.path("game.mkv")).unwrap();
    file.write_all(&[0xec, 0x01]).unwrap();
    file.write_all(&n_bytes.to_be_bytes()[1..]).unwrap();
    let mut block = vec![0_u8; 1 << 20];
    for i in 0..n_bytes >> 20 {
        block.iter_mut().enumerate().for_each(|(j, b)| *b = (i as usize * 31 + j * 7) as u8);
        file.write_all(&block).unwrap();
    }
}
