//! The whole way of a job through real processes: submit, worker, status, import, over the folder bucket and
//! over S3 servers; disturbed in every way, and always with the same detections at the end.

mod disturbed;
mod flow;
mod old_programs;
mod refused;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;

use rusqlite::Connection as Sqlite;
use s3_fixture::Connection;
use serde_json::Value;

use crate::fixture::wide;
use crate::program::{Place, Ran, Running};

/// Durations of the protocol are so many times shorter: a lease of 3 s, a sign of life every 0.5 s.
const FASTER: &str = "60";

/// One row of the library: frame, track, box and confidence as they are stored.
pub(crate) type Row = (i64, i64, [u64; 4], u64);

/// A library and a bucket, and the program at work on them.
pub(crate) struct Site {
    pub(crate) place: Place,
    server: Option<Connection>,
}

impl Site {
    /// With the bucket that nobody configured: a folder.
    pub(crate) fn with_folder() -> Self {
        Self { place: Place::new(), server: None }
    }

    /// With a bucket on a server.
    pub(crate) fn with_server(server: &Connection) -> Self {
        Self { place: Place::new(), server: Some(server.clone()) }
    }

    /// Another machine: its own folders, the same server.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { place: Place::new(), server: self.server.clone() }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.connected(self.place.command(args))
    }

    /// The program on a disk that is full, as far as it can tell: no file may grow beyond so many bytes.
    pub(crate) fn on_a_full_disk(&self, n_bytes: u64, args: &[&str]) -> Ran {
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", n_bytes / 512);
        Ran::of(self.connected(self.place.shell(&script, args)).output().unwrap())
    }

    fn connected(&self, mut command: Command) -> Command {
        if let Some(server) = &self.server {
            command.env("R2_ENDPOINT_URL", &server.endpoint).env("R2_BUCKET_NAME", &server.bucket);
            command.env("R2_ACCESS_KEY_ID", &server.access_key_id);
            command.env("R2_SECRET_ACCESS_KEY", &server.secret_access_key);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Submits a clip of so many frames and returns the job.
    #[track_caller]
    pub(crate) fn submit(&self, n_frames: usize, more: &[&str]) -> String {
        if !self.place.path("game.mkv").exists() {
            wide().video(&self.place, n_frames, "game.mkv");
        }
        let args = [&["--json", "submit", "game.mkv", "--prompt", "ball"], more].concat();
        let submitted = self.run(&args).expect(0, &[]).json();
        let job = submitted["job_id"].as_str().unwrap().to_owned();
        // Ceph's gateway may take a moment to list what it has.
        let listed = (0..50).any(|_| self.run(&["status"]).expect(0, &[]).stdout.contains(&job));
        assert!(listed, "job {job} is not listed");
        job
    }

    /// A worker's command line.
    pub(crate) fn worker(&self, more: &[&str]) -> Command {
        let model = wide().model();
        let place = if self.server.is_some() { "--cloud" } else { "--local" };
        let args = ["--json", "worker", place, "--allow-cpu", "--model", &model, "--faster", FASTER];
        let mut command = self.command(&[&args[..], more].concat());
        // As where it is used: with it, a worker asks the video less.
        command.env_remove("SOURCE_DATE_EPOCH").env("CLOUD_WORKER_POLL_INTERVAL", "5");
        command
    }

    /// Starts a worker.
    pub(crate) fn start_worker(&self, more: &[&str]) -> Running {
        Running::start(self.worker(more))
    }

    /// Runs a worker for one job.
    pub(crate) fn work(&self) -> Ran {
        Ran::of(self.worker(&["--once"]).output().unwrap())
    }

    /// How a job stands.
    #[track_caller]
    pub(crate) fn status(&self, job: &str) -> Value {
        let status = self.run(&["--json", "status", job]).expect(0, &[]).json();
        status["jobs"][0].clone()
    }

    /// Imports a job's results.
    #[track_caller]
    pub(crate) fn import(&self, job: &str) -> Value {
        self.run(&["--json", "import", "--job-id", job]).expect(0, &[]).json()["imported"][0].clone()
    }

    /// The library's detections, bit for bit.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let database = Sqlite::open(self.place.path("basketball_analyzer.db")).unwrap();
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

    /// An object of the folder bucket.
    pub(crate) fn object(&self, key: &str) -> std::path::PathBuf {
        self.place.path("basketball-analyzer").join(key)
    }
}

/// What an undisturbed run finds in a clip of so many frames.
pub(crate) fn undisturbed(n_frames: usize) -> Vec<Row> {
    static FOUND: Mutex<BTreeMap<usize, Vec<Row>>> = Mutex::new(BTreeMap::new());
    FOUND.lock().unwrap().entry(n_frames).or_insert_with(|| run_undisturbed(n_frames)).clone()
}

fn run_undisturbed(n_frames: usize) -> Vec<Row> {
    let site = Site::with_folder();
    let job = site.submit(n_frames, &[]);
    site.work().expect(0, &[]);
    site.import(&job);
    let rows = site.rows();
    assert!(rows.len() > n_frames / 2, "the clip shows a ball on most frames: {}", rows.len());
    rows
}
