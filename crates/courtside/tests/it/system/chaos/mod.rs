//! Chaos: several jobs and workers behind a bad network, while workers are killed, suspended, and lose their disk. In the
//! end, every job must be completed, with the results of a run without faults.
//!
//! A run depends on a seed, but not on it alone: processes and requests are as fast as the machine lets them be. By hand:
//!
//! ```text
//! COURTSIDE_CHAOS_FAULTS=2000 COURTSIDE_CHAOS_SEED=7 cargo test -p courtside --test it chaos -- --nocapture
//! ```
//!
//! `COURTSIDE_CHAOS_KINDS=Kill,Delay` injects only these [kinds](faults::Fault) of faults. Clocks are left alone: the protocol compares none, and the simulation in `crates/jobs/tests` shifts
//! those of its machines.

mod faults;
mod proxy;
mod slot;

use std::sync::Arc;
use std::time::{Duration, Instant};

use s3_fixture::FakeR2;
use serde_json::Value;

use self::faults::{Plan, Rng};
use self::proxy::Proxy;
use self::slot::Slot;
use super::{Machine, Row};
use crate::fixture::wide;

/// Number of faults of a run in the test suite. Of four faults, three hit requests and one hits a worker.
const N_FAULTS: usize = 32;
const N_WORKERS: usize = 2;
/// Jobs that wait or run at the same time.
const N_OPEN_JOBS: usize = 3;
/// Length of the video: long enough to be interrupted between checkpoints.
const N_FRAMES: usize = 28;
/// Pauses between the faults of workers.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1200)];
/// Time from the last fault after which all jobs must be completed. They take far less.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A setting of the run.
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str) -> Option<u64> {
    setting(name).map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[test]
fn all_jobs_complete_with_the_same_results_whatever_fails() {
    let seed = number("COURTSIDE_CHAOS_SEED").unwrap_or(1);
    let n_faults = number("COURTSIDE_CHAOS_FAULTS").map_or(N_FAULTS, |n| n as usize);
    let kinds = setting("COURTSIDE_CHAOS_KINDS").unwrap_or_default();
    let n_of_workers = n_faults / 4;
    let mut run = Run::start(Plan::new(seed, n_faults - n_of_workers, &kinds), seed);
    run.inject(n_of_workers);
    run.complete();
    run.check_results();
}

/// A run: one machine that submits and imports, and others with workers.
struct Run {
    plan: Arc<Plan>,
    /// Of the faults of workers.
    rng: Rng,
    server: FakeR2,
    proxy: Proxy,
    submitter: Machine,
    slots: Vec<Slot>,
    /// The submitted jobs.
    jobs: Vec<String>,
}

impl Run {
    fn start(plan: Plan, seed: u64) -> Self {
        let plan = Arc::new(plan);
        let server = FakeR2::start();
        let proxy = Proxy::start(server.connection(), plan.clone());
        let submitter = Machine::with_server(proxy.connection());
        wide().video(&submitter.sandbox, N_FRAMES, "game.mkv");
        let slots =
            (0..N_WORKERS).map(|n| Slot::start(n, submitter.another_machine(), plan.clone())).collect();
        Self { plan, rng: Rng::new(!seed), server, proxy, submitter, slots, jobs: Vec::new() }
    }

    /// Injects this many faults into workers, and all that the plan has for requests. Meanwhile submits jobs, so that some
    /// are always open.
    fn inject(&mut self, n_of_workers: usize) {
        let kinds = self.plan.of_workers();
        let mut n_left = if kinds.is_empty() { 0 } else { n_of_workers };
        let mut next = Instant::now();
        while n_left > 0 || !self.plan.is_used_up() {
            if self.n_open() < N_OPEN_JOBS {
                self.submit();
            }
            self.slots.iter_mut().for_each(Slot::tick);
            if n_left > 0 && Instant::now() >= next {
                let fault = self.rng.choose(&kinds).unwrap();
                let n = self.rng.below(N_WORKERS as u64) as usize;
                self.slots[n].inject(fault, &mut self.rng);
                n_left -= 1;
                next = Instant::now() + self.rng.between(PAUSES[0], PAUSES[1]);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Submits a job. An unavailable server is an error, after which the same command must succeed later.
    fn submit(&mut self) {
        let args =
            ["--json", "submit", "game.mkv", "--prompt", "ball", "--max-attempts", "100000", "--again"];
        for _ in 0..50 {
            let output = self.submitter.run(&args);
            if output.code == Some(0) {
                let job = output.json()["job_id"].as_str().unwrap().to_owned();
                self.plan.log(&format!("submitted {job}"));
                assert!(!self.jobs.contains(&job), "{job} was submitted twice");
                self.jobs.push(job);
                return;
            }
            self.plan.log(&format!("submit: {}", output.stderr));
            output.expect(4, &[]);
        }
        panic!("the job was not submitted in 50 attempts");
    }

    fn manifest(&self, job: &str) -> Value {
        let object =
            self.server.object(&format!("jobs/{job}.json")).unwrap_or_else(|| panic!("job {job} is lost"));
        serde_json::from_slice(&object.body).unwrap_or_else(|e| panic!("job {job}: {e}"))
    }

    /// The number of jobs that are not completed. Fails if one never will be.
    fn n_open(&self) -> usize {
        let is_open = |job: &&String| match self.manifest(job)["status"].as_str() {
            Some("completed") => false,
            Some("pending" | "processing") => true,
            _ => panic!("{}", self.manifest(job)),
        };
        self.jobs.iter().filter(is_open).count()
    }

    /// Ends all faults, and waits until all jobs are completed and all workers have ended.
    fn complete(&mut self) {
        self.plan.log("no more faults");
        self.slots.iter_mut().for_each(Slot::heal);
        let since = Instant::now();
        while self.n_open() > 0 {
            self.slots.iter_mut().for_each(Slot::tick);
            assert!(since.elapsed() < TIMEOUT, "{} jobs are not completed", self.n_open());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.slots.iter_mut().for_each(Slot::stop);
    }

    /// Compares the results in the bucket with those of a run without faults, imports them, and compares the library.
    fn check_results(&self) {
        let (results, rows) = without_faults();
        for job in &self.jobs {
            let object = self.server.object(&format!("results/{job}.json")).unwrap();
            let differs = |(ours, want): &(&str, &str)| ours != want;
            let ours = comparable(&object.body);
            assert_eq!(ours.lines().zip(results.lines()).find(differs), None, "job {job}");
            assert_eq!(ours.len(), results.len(), "job {job}");
            self.submitter.import(job);
        }
        let imported = self.submitter.detections();
        let want = |row: &Row| std::iter::repeat_n(*row, self.jobs.len());
        assert_eq!(imported, rows.iter().flat_map(want).collect::<Vec<_>>());
        println!("{} jobs completed, through {}", self.jobs.len(), self.proxy.connection().endpoint);
    }
}

/// The results file and the detections in the library of a run without faults.
fn without_faults() -> (String, Vec<Row>) {
    let machine = Machine::with_folder();
    let job = machine.submit(N_FRAMES, &[]);
    machine.run_worker_once().expect(0, &[]);
    let results = std::fs::read(machine.object(&format!("results/{job}.json"))).unwrap();
    machine.import(&job);
    (comparable(&results), machine.detections())
}

/// The text of a results file, without the values that identify the job and the attempt.
fn comparable(results: &[u8]) -> String {
    let fields: Value = serde_json::from_slice(results).unwrap();
    let mut text = String::from_utf8(results.to_vec()).unwrap();
    for name in ["job_id", "completed_at", "attempt", "claim_id"] {
        let field = format!("\"{name}\":{},", fields[name]);
        assert!(text.contains(&field), "no {field} in {text}");
        text = text.replacen(&field, "", 1);
    }
    text
}
