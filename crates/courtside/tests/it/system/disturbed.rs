//! Workers killed, stopped, paused and cut off, alone and together.

use std::time::{Duration, Instant};

use s3_fixture::{FakeR2, Fault, Gate, RealServer};

use super::{Site, undisturbed};
use crate::program::{Ran, Running};

/// Long enough to be killed in the middle, also on a fast machine.
const N_FRAMES: usize = 120;

/// A worker that writes checkpoints as often as it can.
const HASTY: [&str; 2] = ["--checkpoint-interval", "0.2"];

fn frames_done(site: &Site, job: &str) -> u64 {
    site.status(job)["frames_processed"].as_u64().unwrap_or(0)
}

/// A job in the middle, and all that it needs to go on.
struct Begun {
    server: FakeR2,
    site: Site,
    job: String,
    worker: Running,
    machine: Site,
}

/// A worker on another machine that has put a checkpoint of its one job into the bucket.
fn begun() -> Begun {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    let job = site.submit(N_FRAMES, &[]);
    let machine = site.elsewhere();
    let mut worker = machine.start_worker(&[&HASTY[..], &["--once"]].concat());
    worker.wait_for("a checkpoint", || {
        let attempts = site.run(&["--json", "logs", &job]).json()["attempts"].as_array().map_or(0, Vec::len);
        (attempts > 0).then_some(())
    });
    Begun { server, site, job, worker, machine }
}

#[test]
fn a_job_survives_twenty_killed_workers() {
    let server = RealServer::any();
    let site = Site::with_server(server.connection());
    let job = site.submit(N_FRAMES, &["--max-attempts", "100"]);
    for round in 0..20_u64 {
        let machine = site.elsewhere();
        let mut worker = machine.start_worker(&HASTY);
        // A moment between the start and a second after the first sign of the attempt, at any stage.
        let moment = Duration::from_millis(150 + round * 397 % 3000);
        let started = Instant::now();
        worker.wait_for("the moment", || (started.elapsed() >= moment).then_some(()));
        worker.kill();
    }
    site.elsewhere().work().expect(0, &[]);
    assert_eq!(site.status(&job)["status"], "completed");
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

#[test]
fn a_stopped_worker_gives_its_job_back_and_the_next_goes_on() {
    let Begun { server: _server, site, job, worker: mut first, machine: _machine } = begun();
    first.signal("TERM");
    let ran = first.end().expect(130, &["nothing is lost"]);
    assert_eq!(ran.json()["released"][0], job.as_str());
    let waiting = site.status(&job);
    assert_eq!(waiting["status"], "pending");
    let done = frames_done(&site, &job);

    let second = site.elsewhere().work().expect(0, &["going on at frame"]);
    assert_eq!(second.json()["completed"][0], job.as_str());
    assert!(done < N_FRAMES as u64);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

#[test]
fn two_workers_do_not_share_a_job() {
    let server = RealServer::any();
    let site = Site::with_server(server.connection());
    let job = site.submit(N_FRAMES, &[]);
    let both = [site.elsewhere(), site.elsewhere()];
    let workers: Vec<Running> = both.iter().map(|machine| machine.start_worker(&["--once"])).collect();
    let ended: Vec<Ran> = workers.into_iter().map(|worker| worker.end().expect(0, &[])).collect();
    let completed = |ran: &Ran| ran.json()["completed"].as_array().unwrap().len();
    assert_eq!(ended.iter().map(completed).sum::<usize>(), 1);
    assert_eq!(site.status(&job)["attempt"], 1);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

#[test]
fn a_paused_worker_finds_out_that_its_job_is_gone() {
    let Begun { server: _server, site, job, worker: mut paused, machine: _machine } = begun();
    paused.signal("STOP");
    let second = site.elsewhere().work().expect(0, &[]);
    assert_eq!(second.json()["completed"][0], job.as_str());
    paused.signal("CONT");
    let ran = paused.end().expect(0, &["given up"]);
    assert_eq!(ran.json()["lost"][0], job.as_str());
    let after = site.status(&job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("completed"), Some(2)));
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

#[test]
fn a_server_may_go_away_under_a_worker() {
    let Begun { server, site, job, mut worker, machine: _machine } = begun();
    for _ in 0..3 {
        server.stop();
        let since = Instant::now();
        worker.wait_for("a while", || (since.elapsed() > Duration::from_millis(700)).then_some(()));
        server.start_again();
        let since = Instant::now();
        worker.wait_for("a while", || (since.elapsed() > Duration::from_millis(300)).then_some(()));
    }
    worker.end().expect(0, &[]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

#[test]
fn a_cancelled_job_stops_its_worker() {
    let Begun { server: _server, site, job, worker, machine: _machine } = begun();
    site.run(&["cancel", &job]).expect(0, &[]);
    let ran = worker.end().expect(0, &["given up"]);
    assert_eq!(ran.json()["lost"][0], job.as_str());
    assert_eq!(site.status(&job)["status"], "cancelled");
    site.run(&["import", "--job-id", &job]).expect(1, &["cancelled"]);
    // Taken up again, it goes on from its checkpoint.
    site.run(&["retry", &job]).expect(0, &[]);
    site.elsewhere().work().expect(0, &["going on at frame"]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

/// A submission that was killed after some parts of the video had arrived; the job, as `status` shows it.
fn interrupted_upload() -> (FakeR2, Site, String) {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    // Five parts of noise behind the clip, which players skip.
    crate::fixture::wide().video(&site.place, 14, "game.mkv");
    pad(&site, 70 << 20);
    server.set_latency(Duration::from_millis(150));
    let mut submitting = Running::start(site.command(&["submit", "game.mkv", "--prompt", "ball"]));
    let parts = |server: &FakeR2| server.counts().of(s3_fixture::Op::UploadPart);
    submitting.wait_for("a part", || (parts(&server) >= 2).then_some(()));
    submitting.kill();
    server.set_latency(Duration::ZERO);
    let listed = site.run(&["--json", "status"]).expect(0, &[]).json();
    let job = listed["jobs"][0]["job_id"].as_str().unwrap().to_owned();
    (server, site, job)
}

#[test]
fn an_interrupted_upload_goes_on_with_the_same_job() {
    let (_server, site, job) = interrupted_upload();
    let unfinished = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(unfinished.contains("courtside submit --video-id 1"), "{unfinished}");
    let submitted =
        site.run(&["--json", "submit", "--video-id", "1", "--prompt", "ball"]).expect(0, &[]).json();
    assert_eq!(submitted["job_id"], job.as_str());
    site.elsewhere().work().expect(0, &[]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(14));
}

#[test]
fn an_interrupted_upload_can_be_given_up() {
    let (server, site, job) = interrupted_upload();
    assert_eq!(server.open_uploads().len(), 1);
    site.run(&["rm", &job]).expect(1, &["is not uploaded yet", "--force"]);
    assert_eq!(site.run(&["--json", "cancel", &job]).expect(0, &[]).json()["status"], "cancelled");
    // Nothing of it is left to be paid for, or to go on with.
    assert_eq!((server.open_uploads().len(), server.keys().len()), (0, 0));
    let listed = site.run(&["--json", "status"]).expect(0, &[]).json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(0));
    // Taken up again, it is uploaded after all.
    site.run(&["retry", &job]).expect(0, &[]);
    assert_eq!(site.status(&job)["state"], "waiting");
}

#[test]
fn two_imports_at_once_are_one() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    let job = site.submit(14, &[]);
    site.elsewhere().work().expect(0, &[]);
    server.set_latency(Duration::from_millis(100));
    let import = || Running::start(site.command(&["--json", "import", "--job-id", &job]));
    let both = [import(), import()].map(|running| running.end().expect(0, &[]).json());
    let already: Vec<_> = both.iter().map(|ran| ran["imported"][0]["already"].as_bool().unwrap()).collect();
    assert!(already == [true, false] || already == [false, true], "{already:?}");
    assert_eq!(site.rows(), undisturbed(14));
}

/// A worker on a video whose third range of bytes waits at the gate.
fn tracking_while_it_arrives(spoil: bool) -> (FakeR2, Site, String, Gate, Running, Site) {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    crate::fixture::wide().video(&site.place, 14, "game.mp4");
    append_free_box(&site, 70 << 20);
    let submitted = site.run(&["--json", "submit", "game.mp4", "--prompt", "ball"]).expect(0, &[]).json();
    let job = submitted["job_id"].as_str().unwrap().to_owned();
    let key = format!("videos/{job}.mp4");
    if spoil {
        let mut bytes = server.object(&key).unwrap().body.to_vec();
        bytes[40 << 20] ^= 1;
        server.put(&key, bytes);
    }
    let gate = Gate::new();
    let held = gate.clone();
    server.set_faults(move |call| {
        (call.key == key && call.range_start == Some(32 << 20)).then(|| Fault::Hold(held.clone()))
    });
    let machine = site.elsewhere();
    let mut worker = machine.start_worker(&["--once", "--checkpoint-interval", "0.1"]);
    worker.wait_for("tracked frames", || (frames_done(&site, &job) > 0).then_some(()));
    (server, site, job, gate, worker, machine)
}

#[test]
fn tracking_begins_while_the_video_arrives() {
    let (server, site, job, gate, worker, _machine) = tracking_while_it_arrives(false);
    assert!(server.keys().iter().all(|key| !key.starts_with("checkpoints/")));
    gate.open();
    worker.end().expect(0, &["tracking while the video arrives"]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(14));
}

#[test]
fn what_was_tracked_in_wrong_bytes_counts_for_nothing() {
    let (server, site, job, gate, worker, _machine) = tracking_while_it_arrives(true);
    gate.open();
    worker.end().expect(5, &["tracking while the video arrives", "its SHA-256 is"]);
    assert_eq!(site.status(&job)["status"], "pending");
    let left: Vec<String> = server.keys();
    assert!(
        !left.iter().any(|key| key.starts_with("checkpoints/") || key.starts_with("results/")),
        "{left:?}"
    );
}

#[test]
fn a_worker_that_is_stopped_while_the_video_arrives_gives_its_job_back() {
    let (_server, site, job, gate, mut worker, _machine) = tracking_while_it_arrives(false);
    worker.signal("TERM");
    let ran = worker.end().expect(130, &[]);
    assert_eq!(ran.json()["released"][0], job.as_str());
    gate.open();
    site.elsewhere().work().expect(0, &[]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(14));
}

/// Appends a box that players skip (ISO/IEC 14496-12 §8.1.2).
fn append_free_box(site: &Site, n_bytes: u32) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(site.place.path("game.mp4")).unwrap();
    file.write_all(&(n_bytes + 8).to_be_bytes()).unwrap();
    file.write_all(b"free").unwrap();
    file.write_all(&vec![7; n_bytes as usize]).unwrap();
}

/// A decoder that never gives a picture.
#[cfg(unix)]
fn stuck_decoder(site: &Site) -> std::ffi::OsString {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap();
    let mut all = std::env::split_paths(&path).map(|folder| folder.join("ffmpeg"));
    let real = all.find(|file| file.is_file()).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *rawvideo*) exec sleep 600;; *) exec {} \"$@\";; esac\n",
        real.display()
    );
    site.place.write("ffmpeg", script);
    std::fs::set_permissions(site.place.path("ffmpeg"), PermissionsExt::from_mode(0o755)).unwrap();
    let first = site.place.folder().to_owned();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path))).unwrap()
}

#[test]
#[cfg(unix)]
fn tracking_that_gets_stuck_is_a_failed_attempt() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    let job = site.submit(14, &[]);
    let machine = site.elsewhere();
    let mut command = machine.worker(&["--stall-timeout", "1"]);
    command.env("PATH", stuck_decoder(&machine));
    // Though told to go on for ever, it ends: its thread is lost.
    let ran = Running::start(command).end().expect(5, &["no frame for 1 seconds after 0 frames", &job]);
    assert!(ran.stderr.contains("this worker cannot go on"), "{ran:?}");
    let after = site.status(&job);
    assert_eq!((after["status"].as_str(), after["attempt"].as_u64()), (Some("pending"), Some(1)));
    assert!(after["error"].as_str().unwrap().contains("no frame for"), "{after}");
    site.elsewhere().work().expect(0, &[]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(14));
}

#[test]
fn a_sick_machine_leaves_jobs_alone() {
    let site = Site::with_folder();
    let job = site.submit(14, &[]);
    let model = crate::fixture::wide().model();
    site.run(&["worker", "--local", "--model", &model, "--work-dir", "game.mkv/work"])
        .expect(1, &["game.mkv/work"]);
    assert_eq!(site.status(&job)["attempt"], 0);
}

#[test]
fn a_job_keeps_the_limit_it_was_begun_with() {
    let Begun { server: _server, site, job, worker: mut first, machine: _machine } = begun();
    first.signal("TERM");
    first.end().expect(130, &[]);
    let second = Ran::of(site.elsewhere().worker(&["--once", "--max-objects", "1"]).output().unwrap());
    second.expect(0, &["--max-objects is 100 for this job", "going on at frame"]);
    site.import(&job);
    assert_eq!(site.rows(), undisturbed(N_FRAMES));
}

/// Appends an EBML Void element, which Matroska readers skip (RFC 8794 §11.3.2).
pub(super) fn pad(site: &Site, n_bytes: u64) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(site.place.path("game.mkv")).unwrap();
    file.write_all(&[0xec, 0x01]).unwrap();
    file.write_all(&n_bytes.to_be_bytes()[1..]).unwrap();
    let mut block = vec![0_u8; 1 << 20];
    for i in 0..n_bytes >> 20 {
        block.iter_mut().enumerate().for_each(|(j, b)| *b = (i as usize * 31 + j * 7) as u8);
        file.write_all(&block).unwrap();
    }
}
