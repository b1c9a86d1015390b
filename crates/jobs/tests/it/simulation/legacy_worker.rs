//! A worker of another implementation: plain, unconditional writes, no claim, no lease. It preserves unknown
//! fields, as the contract requires. It crashes and restarts like the others.

use std::time::Duration;

use jobs::bucket::{Bucket, Condition};
use serde_json::{Value, json};

use super::process_context::ProcessContext;
use super::tracking::{Run, Signature};

/// Longest time between two of its writes while it is alive, in seconds: less than the 30 minutes it is
/// allowed.
const MAX_INTERVAL_SECONDS: f64 = 29.0 * 60.0;

pub(super) async fn work(mut ctx: ProcessContext) {
    loop {
        let keys = ctx.bucket.list("jobs/").await.unwrap_or_default();
        for entry in keys {
            let Some(job) = read(&*ctx.bucket, &entry.key).await else { continue };
            if job["status"] == "pending" {
                process(&mut ctx, &entry.key, job).await;
            }
        }
        ctx.sleep_seconds(5.0..90.0).await;
    }
}

async fn process(ctx: &mut ProcessContext, key: &str, mut job: Value) {
    ctx.world.count("a legacy worker took a job");
    let id = job["job_id"].as_str().unwrap().to_owned();
    job["status"] = json!("processing");
    job["worker_id"] = json!("legacy");
    job["started_at"] = json!("2025-06-01T12:00:00+00:00");
    write(&*ctx.bucket, key, &job).await;
    let n_frames = job["video"]["n_frames"].as_u64().unwrap_or(3);
    let interval = match ctx.rng.chance(0.5) {
        true => ctx.rng.log_uniform_seconds(1.0..MAX_INTERVAL_SECONDS),
        false => Duration::from_secs_f64(MAX_INTERVAL_SECONDS),
    };
    let mut run = Run::new(id.parse().unwrap());
    for current in 0..n_frames {
        run.step();
        tokio::time::sleep(interval.mul_f64(ctx.rng.float(0.9..1.0))).await;
        let status = json!({"job_id": id, "current": current, "total": n_frames, "message": "tracking",
            "updated_at": format!("2025-06-01T12:{:02}:00", current)});
        write(&*ctx.bucket, &format!("status/{id}.json"), &status).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (results, _) = run.results(job["video_id"].as_i64().unwrap_or_default(), Signature::None, "");
    let _ = ctx.bucket.put(&format!("results/{id}.json"), results.into(), Condition::Always).await;
    // Some implementations read the manifest again before writing it, others do not.
    if ctx.rng.chance(0.5) {
        job = read(&*ctx.bucket, key).await.unwrap_or(job);
    }
    job["status"] = json!("completed");
    job["frames_processed"] = json!(n_frames);
    write(&*ctx.bucket, key, &job).await;
}

async fn read(bucket: &dyn Bucket, key: &str) -> Option<Value> {
    let object = bucket.get(key, 1 << 20).await.ok()??;
    serde_json::from_slice(&object.bytes).ok()
}

async fn write(bucket: &dyn Bucket, key: &str, value: &Value) {
    let body = serde_json::to_vec(value).unwrap();
    let _ = bucket.put(key, body.into(), Condition::Always).await;
}
