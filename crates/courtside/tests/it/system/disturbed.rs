//! Workers killed, stopped, paused and cut off, alone and together.

use std::time::{Duration, Instant};

use s3_fixture::{FakeR2, RealServer};

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

#[test]
fn an_interrupted_upload_goes_on_with_the_same_job() {
    let server = FakeR2::start();
    let site = Site::with_server(server.connection());
    // Five parts of noise behind the clip, which players skip.
    crate::fixture::wide().video(&site.place, 14, "game.mkv");
    pad(&site, 70 << 20);
    server.set_latency(Duration::from_millis(150));
    let command = site.command(&["--json", "submit", "game.mkv", "--prompt", "ball"]);
    let mut submitting = Running::start(command);
    let parts = |server: &FakeR2| server.counts().of(s3_fixture::Op::UploadPart);
    submitting.wait_for("a part", || (parts(&server) >= 2).then_some(()));
    submitting.kill();
    server.set_latency(Duration::ZERO);
    let unfinished = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(unfinished.contains("courtside submit --video-id 1"), "{unfinished}");
    let job = site.run(&["--json", "submit", "--video-id", "1", "--prompt", "ball"]).expect(0, &[]).json();
    let job = job["job_id"].as_str().unwrap();
    assert!(unfinished.contains(job), "{unfinished}");
    site.elsewhere().work().expect(0, &[]);
    site.import(job);
    assert_eq!(site.rows(), undisturbed(14));
}

/// Appends an EBML Void element, which Matroska readers skip (RFC 8794 §11.3.2).
fn pad(site: &Site, n_bytes: u64) {
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
