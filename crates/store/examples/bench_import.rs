//! Measures imports into a database file, with as many synthetic detections as a one-hour game has.
//!
//! `cargo run --release -p store --example bench_import [N_DETECTIONS] [FOLDER]` prints wall time, CPU
//! time and peak memory so far for a first import, the same import again, other results of the same job,
//! and a second job. Every frame has ten players, and each track lasts 900 frames.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use store::{DetectionScope, ImportJob, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let n_detections: u64 = args.next().map_or(Ok(1_012_000), |n| n.parse())?;
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("bench-import-{}.db", std::process::id()));
    let outcome = run(n_detections, &path.display().to_string());
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    outcome
}

fn run(n_detections: u64, url: &str) -> Result<(), Box<dyn Error>> {
    let mut library = Library::open(url)?;
    let video = library.add_video(&NewVideo::at("game.mp4"))?;
    for (what, job_id, sha256) in [
        ("first import", "job-1", "a"),
        ("same results again", "job-1", "a"),
        ("other results", "job-1", "b"),
        ("second job", "job-2", "a"),
    ] {
        timed(what, || import(&mut library, video.id, job_id, sha256, n_detections))?;
    }
    timed("stats of a job", || library.detection_stats(DetectionScope::Job("job-1")))?;
    timed("totals", || library.detection_totals(DetectionScope::Video(video.id)))?;
    timed("stream of a job", || {
        library.for_each_detection(DetectionScope::Job("job-1"), |_| std::ops::ControlFlow::Continue(()))
    })?;
    timed("remove a job", || library.remove_job("job-2", false))?;
    Ok(())
}

fn import(
    library: &mut Library,
    video_id: i64,
    job_id: &str,
    sha256: &str,
    n: u64,
) -> Result<(), StoreError> {
    let job = ImportJob::new(job_id, video_id, sha256);
    library.import(&job, |writer| {
        let mut random = Random(88_172_645_463_325_252);
        let mut batch = Vec::with_capacity(256);
        for i in 0..n {
            batch.push(random.detection((i / 10) as i64, (i % 10) as i64));
            if batch.len() == 256 {
                writer.push(&batch)?;
                batch.clear();
            }
        }
        writer.push(&batch)?;
        Ok(ResultsSummary { frames_processed: Some((n / 10) as i64), completed_at: None })
    })?;
    Ok(())
}

fn timed<T, E>(what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let (wall, cpu) = (Instant::now(), cpu_s());
    let result = work()?;
    println!(
        "{what:18} {:6.2} s wall  {:6.2} s CPU  {:.0} MB peak memory",
        wall.elapsed().as_secs_f64(),
        cpu_s() - cpu,
        peak_mb()
    );
    Ok(result)
}

/// CPU time of this process in seconds; 0 without `/proc`.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Peak resident memory of this process in MB; 0 without `/proc`.
fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1000.0
}

/// A xorshift random number generator.
struct Random(u64);

impl Random {
    /// A random integer below `limit`.
    fn below(&mut self, limit: u64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) % limit) as f64
    }

    fn detection(&mut self, frame: i64, player: i64) -> StoredDetection {
        let hundredth = 0.01;
        StoredDetection {
            frame,
            track_id: frame / 900 * 10 + player,
            bbox: [
                self.below(190_000) * hundredth,
                self.below(100_000) * hundredth,
                self.below(10_000) * hundredth,
                self.below(20_000) * hundredth,
            ],
            confidence: self.below(10_000) * 0.0001,
        }
    }
}
