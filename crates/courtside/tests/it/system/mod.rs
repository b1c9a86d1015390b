//! Jobs from submission to import, through real processes and buckets: a folder, and S3 servers. Whatever fails in
//! between, the imported detections are the same.

mod bad_jobs;
mod chaos;
mod damaged;
mod disk;
mod end_to_end;
mod faults;
mod legacy_programs;
mod other_libraries;
mod rejected;
mod results_corrupt;
mod submissions;
mod vanished;

pub(crate) use faults::pad;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use rusqlite::Connection as Sqlite;
use s3_fixture::Connection;
use serde_json::Value;

use crate::fixture::wide;
use crate::sandbox::{RunOutput, Running, Sandbox};

/// Factor by which durations of the protocol are shortened: a lease is 3 s, and heartbeats are 0.5 s apart.
const SPEED_UP: &str = "60";

/// A detection in the library: frame, track, and the bits of box and confidence.
pub(crate) type Row = (i64, i64, [u64; 4], u64);

/// A machine with a library, connected to a bucket.
pub(crate) struct Machine {
    pub(crate) sandbox: Sandbox,
    server: Option<Connection>,
}

impl Machine {
    /// With the default bucket, a folder.
    pub(crate) fn with_folder() -> Self {
        Self { sandbox: Sandbox::new(), server: None }
    }

    /// With a bucket on a server.
    pub(crate) fn with_server(server: &Connection) -> Self {
        Self { sandbox: Sandbox::new(), server: Some(server.clone()) }
    }

    /// Another machine with the same server.
    pub(crate) fn another_machine(&self) -> Self {
        Self { sandbox: Sandbox::new(), server: self.server.clone() }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.connected(self.sandbox.command(args))
    }

    /// Runs the program on a disk that appears full: no file may grow beyond `n_bytes`.
    pub(crate) fn run_on_full_disk(&self, n_bytes: u64, args: &[&str]) -> RunOutput {
        RunOutput::new(self.command_on_full_disk(n_bytes, args).output().unwrap())
    }

    fn command_on_full_disk(&self, n_bytes: u64, args: &[&str]) -> Command {
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", n_bytes / 512);
        self.connected(self.sandbox.shell(&script, args))
    }

    fn connected(&self, mut command: Command) -> Command {
        if let Some(server) = &self.server {
            command.env("R2_ENDPOINT_URL", &server.endpoint).env("R2_BUCKET_NAME", &server.bucket);
            command.env("R2_ACCESS_KEY_ID", &server.access_key_id);
            command.env("R2_SECRET_ACCESS_KEY", &server.secret_access_key);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> RunOutput {
        RunOutput::new(self.command(args).output().unwrap())
    }

    /// Submits a clip of `n_frames` frames and returns the ID of the job.
    #[track_caller]
    pub(crate) fn submit(&self, n_frames: usize, more: &[&str]) -> String {
        if !self.sandbox.path("game.mkv").exists() {
            wide().video(&self.sandbox, n_frames, "game.mkv");
        }
        let args = [&["--json", "submit", "game.mkv", "--prompt", "ball"], more].concat();
        let submitted = self.run(&args).expect(0, &[]).json();
        let job = submitted["job_id"].as_str().unwrap().to_owned();
        // The listing of Ceph's gateway may lag behind.
        let listed = (0..50).any(|_| self.run(&["status"]).expect(0, &[]).stdout.contains(&job));
        assert!(listed, "job {job} is not listed");
        job
    }

    /// A worker with the wide fixture as its model.
    pub(crate) fn worker(&self, more: &[&str]) -> Command {
        self.as_worker(more, |args| self.command(args))
    }

    /// The same on a disk that appears full: no file may grow beyond `n_bytes`.
    pub(crate) fn worker_on_full_disk(&self, n_bytes: u64, more: &[&str]) -> Command {
        self.as_worker(more, |args| self.command_on_full_disk(n_bytes, args))
    }

    fn as_worker(&self, more: &[&str], command: impl FnOnce(&[&str]) -> Command) -> Command {
        let model = wide().model();
        let target = if self.server.is_some() { "--cloud" } else { "--local" };
        let args = ["--json", "worker", target, "--allow-cpu", "--model", &model, "--speed-up", SPEED_UP];
        let mut command = command(&[&args[..], more].concat());
        // With SOURCE_DATE_EPOCH, a worker would not read the time of the video file.
        command.env_remove("SOURCE_DATE_EPOCH").env("CLOUD_WORKER_POLL_INTERVAL", "5");
        command
    }

    /// Starts a worker.
    pub(crate) fn start_worker(&self, more: &[&str]) -> Running {
        Running::start(self.worker(more))
    }

    /// Runs a worker until it has served one job.
    pub(crate) fn run_worker_once(&self) -> RunOutput {
        RunOutput::new(self.worker(&["--once"]).output().unwrap())
    }

    /// The state of a job, as `status --json` reports it.
    #[track_caller]
    pub(crate) fn status(&self, job: &str) -> Value {
        let status = self.run(&["--json", "status", job]).expect(0, &[]).json();
        status["jobs"][0].clone()
    }

    /// Imports the results of a job.
    #[track_caller]
    pub(crate) fn import(&self, job: &str) -> Value {
        self.run(&["--json", "import", "--job-id", job]).expect(0, &[]).json()["imported"][0].clone()
    }

    /// All detections in the library.
    pub(crate) fn detections(&self) -> Vec<Row> {
        let database = Sqlite::open(self.sandbox.path("basketball_analyzer.db")).unwrap();
        let mut query = database
            .prepare(
                "SELECT frame_number, tracking_id, bbox_x, bbox_y, bbox_width, bbox_height, confidence_score
                 FROM player_detections ORDER BY frame_number, tracking_id, id",
            )
            .unwrap();
        let bits = |row: &rusqlite::Row<'_>, i: usize| row.get::<_, f64>(i).map(f64::to_bits);
        query
            .query_map([], |row| {
                let bbox = [bits(row, 2)?, bits(row, 3)?, bits(row, 4)?, bits(row, 5)?];
                Ok((row.get(0)?, row.get(1)?, bbox, bits(row, 6)?))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// The file of an object in the folder bucket.
    pub(crate) fn object(&self, key: &str) -> std::path::PathBuf {
        self.sandbox.path("basketball-analyzer").join(key)
    }
}

/// The detections of a run without faults in a clip of `n_frames` frames.
pub(crate) fn detections_without_faults(n_frames: usize) -> Vec<Row> {
    static FOUND: Mutex<BTreeMap<usize, Vec<Row>>> = Mutex::new(BTreeMap::new());
    FOUND.lock().unwrap().entry(n_frames).or_insert_with(|| run_without_faults(n_frames)).clone()
}

fn run_without_faults(n_frames: usize) -> Vec<Row> {
    let machine = Machine::with_folder();
    let job = machine.submit(n_frames, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    let rows = machine.detections();
    assert!(rows.len() > n_frames / 2, "too few detections: {}", rows.len());
    rows
}
