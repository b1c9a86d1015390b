//! Measures speed, CPU time and memory of uploading and downloading a large file:
//! `cargo run --release --example bench_transfer [MIB [ROUNDS]]`. `scripts/bench/bench_transfer.py` measures
//! boto3 in the same way.
//!
//! Uses the server given by `S3_ENDPOINT`, `S3_BUCKET`, `S3_REGION`, `S3_ACCESS_KEY_ID` and
//! `S3_SECRET_ACCESS_KEY`; without them it starts a real server on loopback. Linux only, because it reads
//! `/proc/self`.

use std::env::VarError;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use jobs::bucket::{Bucket, RemoteBucket, S3Settings, Secret, Timeouts};
use jobs::transfer::{Upload, download, upload};
use rand::RngCore;
use s3_fixture::RealServer;

type AnyError = Box<dyn std::error::Error>;

const KEY: &str = "videos/bench.mp4";
/// Clock ticks per second: `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux.
const TICKS: f64 = 100.0;

fn main() -> Result<(), AnyError> {
    let n_mib: u64 = std::env::args().nth(1).map_or(Ok(1024), |n| n.parse())?;
    let n_rounds: u32 = std::env::args().nth(2).map_or(Ok(3), |n| n.parse())?;
    let (settings, _server) = settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let bucket = RemoteBucket::s3(&settings)?;
    println!("{n_mib} MiB, {}", bucket.location());
    let folder = tempfile::tempdir()?;
    let (file, copy) = (folder.path().join("file"), folder.path().join("copy"));
    make(&file, n_mib)?;
    for _ in 0..n_rounds {
        let journal = folder.path().join("journal");
        let what = Upload { bucket: &bucket, key: KEY, file: &file, journal: &journal, part_bytes: None };
        let facts = measure("up", n_mib, || runtime.block_on(upload(what, &|_, _| {})))??;
        let want = (Some(facts.size_bytes), Some(facts.sha256.as_str()));
        let get = || runtime.block_on(download(&bucket, KEY, want.0, want.1, &copy, &|_| {}));
        measure("down", n_mib, get)??;
        std::fs::remove_file(&copy)?;
    }
    runtime.block_on(bucket.delete(KEY))?;
    Ok(())
}

fn settings() -> Result<(S3Settings, Option<RealServer>), AnyError> {
    let timeouts = Timeouts::default();
    if std::env::var("S3_ENDPOINT") == Err(VarError::NotPresent) {
        let server = RealServer::any();
        let connection = server.connection();
        let settings = S3Settings {
            endpoint: connection.endpoint.clone(),
            bucket: connection.bucket.clone(),
            region: connection.region.clone(),
            access_key_id: connection.access_key_id.clone(),
            secret_access_key: Secret::new(&connection.secret_access_key),
            timeouts,
        };
        return Ok((settings, Some(server)));
    }
    let settings = S3Settings {
        endpoint: std::env::var("S3_ENDPOINT")?,
        bucket: std::env::var("S3_BUCKET")?,
        region: std::env::var("S3_REGION").unwrap_or_else(|_| "auto".to_owned()),
        access_key_id: std::env::var("S3_ACCESS_KEY_ID")?,
        secret_access_key: Secret::new(std::env::var("S3_SECRET_ACCESS_KEY")?),
        timeouts,
    };
    Ok((settings, None))
}

fn make(path: &Path, n_mib: u64) -> Result<(), AnyError> {
    let mut file = File::create(path)?;
    let mut block = vec![0; 1 << 20];
    for _ in 0..n_mib {
        rand::rng().fill_bytes(&mut block);
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}

fn measure<T>(name: &str, n_mib: u64, what: impl FnOnce() -> T) -> Result<T, AnyError> {
    // Resets the peak memory.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let (cpu, started) = (cpu_seconds()?, Instant::now());
    let result = what();
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let speed = (n_mib << 20) as f64 / 1e6 / seconds;
    println!("{name:4} {speed:7.1} MB/s {seconds:6.2} s, {cpu:5.2} CPU s, peak {} MiB", peak_mib()?);
    Ok(result)
}

fn cpu_seconds() -> Result<f64, AnyError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The program's name, which may contain spaces, ends with the last parenthesis. User and system time are
    // fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS)
}

fn peak_mib() -> Result<u64, AnyError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse::<u64>()? / 1024)
}
