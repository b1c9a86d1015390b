//! A worker of another make: plain, unconditional writes, no claim, no lease. It keeps fields that it does
//! not know, as the contract asks of everybody. It lives and dies like the others.

use std::time::Duration;

use jobs::bucket::{Bucket, Condition};
use serde_json::{Value, json};

use super::desk::Desk;
use super::tracking::{Run, Signature};

/// The longest that it says nothing while it lives, in seconds: less than the half hour it is given.
const LONGEST_SILENCE: f64 = 29.0 * 60.0;

pub(super) async fn work(mut desk: Desk) {
    loop {
        let keys = desk.bucket.list("jobs/").await.unwrap_or_default();
        for entry in keys {
            let Some(job) = read(&*desk.bucket, &entry.key).await else { continue };
            if job["status"] == "pending" {
                process(&mut desk, &entry.key, job).await;
            }
        }
        desk.sleep_seconds(5.0..90.0).await;
    }
}

async fn process(desk: &mut Desk, key: &str, mut job: Value) {
    desk.world.count("an older program took a job");
    let id = job["job_id"].as_str().unwrap().to_owned();
    job["status"] = json!("processing");
    job["worker_id"] = json!("older");
    job["started_at"] = json!("2025-06-01T12:00:00+00:00");
    write(&*desk.bucket, key, &job).await;
    let n_frames = job["video"]["n_frames"].as_u64().unwrap_or(3);
    let silence = match desk.dice.chance(0.5) {
        true => desk.dice.any_seconds(1.0..LONGEST_SILENCE),
        false => Duration::from_secs_f64(LONGEST_SILENCE),
    };
    let mut run = Run::new(id.parse().unwrap());
    for current in 0..n_frames {
        run.step();
        tokio::time::sleep(silence.mul_f64(desk.dice.float(0.9..1.0))).await;
        let status = json!({"job_id": id, "current": current, "total": n_frames, "message": "at work",
            "updated_at": format!("2025-06-01T12:{:02}:00", current)});
        write(&*desk.bucket, &format!("status/{id}.json"), &status).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (results, _) = run.results(job["video_id"].as_i64().unwrap_or_default(), Signature::None, "");
    let _ = desk.bucket.put(&format!("results/{id}.json"), results.into(), Condition::Always).await;
    // Some look again before they write, some do not.
    if desk.dice.chance(0.5) {
        job = read(&*desk.bucket, key).await.unwrap_or(job);
    }
    job["status"] = json!("completed");
    job["frames_processed"] = json!(n_frames);
    write(&*desk.bucket, key, &job).await;
}

async fn read(bucket: &dyn Bucket, key: &str) -> Option<Value> {
    let object = bucket.get(key, 1 << 20).await.ok()??;
    serde_json::from_slice(&object.bytes).ok()
}

async fn write(bucket: &dyn Bucket, key: &str, value: &Value) {
    let body = serde_json::to_vec(value).unwrap();
    let _ = bucket.put(key, body.into(), Condition::Always).await;
}
