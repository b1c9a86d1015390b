//! Measures the cost of listing a bucket with many jobs: `cargo run --release --example bench_catalog
//! [N_JOBS]`.
//!
//! The server runs in the same process, so the times include the server's; the numbers of requests are exact.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jobs::bucket::{Bucket, RemoteBucket, S3Settings, Secret, Timeouts};
use jobs::catalog::Catalog;
use jobs::env::SystemEnv;
use jobs::manifest::Parameters;
use jobs::{JobId, Manifest, Status};
use s3_fixture::{FakeR2, Op};
use time::OffsetDateTime;

type AnyError = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let n_jobs = std::env::args().nth(1).map_or(Ok(10_000), |n| n.parse())?;
    let server = FakeR2::start();
    for i in 0..n_jobs {
        let id = JobId::new(format!("8f14e45f-ceea-467f-9d5a-{i:012}"))?;
        let mut job = Manifest::new(id, i, Parameters::default(), OffsetDateTime::UNIX_EPOCH);
        job.status = Status::Imported;
        job.note("imported", OffsetDateTime::UNIX_EPOCH);
        server.put(&job.job_id.manifest_key(), job.to_bytes());
    }
    for latency in [Duration::ZERO, Duration::from_millis(30)] {
        server.remove("index/jobs.json");
        server.set_latency(latency);
        println!("{n_jobs} finished jobs, {} ms per request", latency.as_millis());
        let bucket = bucket(&server)?;
        let mut first = Catalog::new(bucket.clone(), SystemEnv::shared());
        refresh("first, without an index", &server, &mut first).await?;
        refresh("again", &server, &mut first).await?;
        let mut second = Catalog::new(bucket, SystemEnv::shared());
        refresh("first, with an index", &server, &mut second).await?;
    }
    Ok(())
}

fn bucket(server: &FakeR2) -> Result<Arc<dyn Bucket>, AnyError> {
    let connection = server.connection();
    let settings = S3Settings {
        endpoint: connection.endpoint.clone(),
        bucket: connection.bucket.clone(),
        region: connection.region.clone(),
        access_key_id: connection.access_key_id.clone(),
        secret_access_key: Secret::new(&connection.secret_access_key),
        timeouts: Timeouts::default(),
    };
    Ok(Arc::new(RemoteBucket::s3(&settings)?))
}

async fn refresh(name: &str, server: &FakeR2, catalog: &mut Catalog) -> Result<(), AnyError> {
    server.clear_log();
    let started = Instant::now();
    catalog.refresh().await?;
    let (seconds, counts) = (started.elapsed().as_secs_f64(), server.counts());
    let (n_lists, n_gets, n_puts) =
        (counts.of(Op::ListObjects), counts.of(Op::GetObject), counts.of(Op::PutObject));
    println!("  {name:23} {n_lists:3} LIST {n_gets:6} GET {n_puts:2} PUT {seconds:8.2} s");
    Ok(())
}
