//! Jobs that no worker can process: each fails with a reason, and the jobs behind them are processed.

use s3_fixture::FakeR2;
use serde_json::{Value, json};

use super::{Machine, detections_without_faults};
use crate::sandbox::RunOutput;

/// A change of an honest manifest, and a part of the reason that the job fails with.
type BadJob = (&'static str, fn(&mut Value), &'static str);

const BAD_JOBS: [BadJob; 7] = [
    (
        "long-name",
        |job| job["parameters"]["video_key"] = format!("videos/{}.mkv", "x".repeat(400)).into(),
        "videos/xxx",
    ),
    ("no-video", |job| job["parameters"]["video_key"] = "videos/none.mkv".into(), "videos/none.mkv"),
    ("odd-name", |job| job["parameters"]["video_key"] = "videos/NoSuchBucket.mkv".into(), "NoSuchBucket.mkv"),
    ("a-folder", |job| job["parameters"]["video_key"] = "videos".into(), "videos"),
    ("long-prompt", |job| job["parameters"]["prompt"] = "word ".repeat(180_000).into(), "prompt"),
    ("last-attempt", |job| job["attempt"] = u32::MAX.into(), "submit the video again"),
    ("other-video", |job| job["video"]["sha256"] = "0".repeat(64).into(), "SHA-256"),
];

/// A change of an honest manifest.
type OddJob = (&'static str, fn(&mut Value));

/// Jobs that look odd and can be processed.
const ODD_JOBS: [OddJob; 2] = [
    // With a prefix or an ending, a file name of that length would be too long.
    ("long-extension", |job| job["parameters"]["video_key"] = long_extension().into()),
    ("odd-checkpoint", |job| {
        let file =
            |name: &str| json!({"key": format!("checkpoints//{name}"), "size_bytes": 1, "sha256": "00"});
        let files = [file("a.state"), file("a.detections")];
        job["checkpoint"] = json!({"next_frame": 3, "n_frames": 3, "attempt": 1, "files": files});
    }),
];

fn long_extension() -> String {
    format!("videos/v.{}", "x".repeat(246))
}

/// Puts bad and odd jobs before an honest one, and returns the honest one.
fn submit(machine: &Machine, put: impl Fn(&str, Vec<u8>), read: impl Fn(&str) -> Vec<u8>) -> String {
    let job = machine.submit(14, &[]);
    let mut honest: Value = serde_json::from_slice(&read(&format!("jobs/{job}.json"))).unwrap();
    let video = format!("videos/{job}.mkv");
    put(&long_extension(), read(&video));
    honest["parameters"]["video_key"] = video.into();
    honest["created_at"] = "2020-01-01T00:00:00Z".into();
    let bad = BAD_JOBS.iter().map(|(name, change, _)| (name, change));
    for (name, change) in bad.chain(ODD_JOBS.iter().map(|(name, change)| (name, change))) {
        let mut manifest = honest.clone();
        manifest["job_id"] = (*name).into();
        change(&mut manifest);
        put(&format!("jobs/{name}.json"), manifest.to_string().into_bytes());
    }
    job
}

#[track_caller]
fn check(machine: &Machine, job: &str) {
    let worker = RunOutput::new(machine.worker(&["--idle-exit", "3"]).output().unwrap()).expect(0, &[]);
    for (name, _, reason) in BAD_JOBS {
        let after = machine.status(name);
        assert_eq!(after["status"], "failed", "{name}: {after}");
        let error = after["error"].as_str().unwrap();
        assert!(error.contains(reason), "{name}: {error}");
        assert!(error.len() < 2000, "{name}: an error of {} bytes", error.len());
    }
    let completed: Vec<String> = serde_json::from_value(worker.json()["completed"].clone()).unwrap();
    for job in ODD_JOBS.map(|(name, _)| name).into_iter().chain([job]) {
        assert!(completed.contains(&job.to_owned()), "{job} is not in {completed:?}\n{}", worker.stderr);
    }
    // No line has a prompt of 900 kB.
    let longest = worker.stderr.lines().map(str::len).max().unwrap();
    assert!(longest < 4000, "a line of {longest} bytes");
    machine.import(job);
    assert_eq!(machine.detections(), detections_without_faults(14));
}

#[test]
fn bad_jobs_in_a_folder_do_not_keep_a_worker_from_the_next() {
    let machine = Machine::with_folder();
    let put = |key: &str, bytes| std::fs::write(machine.object(key), bytes).unwrap();
    let job = submit(&machine, put, |key| std::fs::read(machine.object(key)).unwrap());
    check(&machine, &job);
}

#[test]
fn bad_jobs_on_a_server_do_not_keep_a_worker_from_the_next() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let put = |key: &str, bytes| drop(server.put(key, bytes));
    let job = submit(&machine, put, |key| server.object(key).unwrap().body.to_vec());
    check(&machine, &job);
}

#[test]
#[cfg(unix)]
fn a_manifest_that_cannot_be_opened_does_not_hide_the_others() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    std::os::unix::fs::symlink("endless.json", machine.object("jobs/endless.json")).unwrap();
    machine.run_worker_once().expect(0, &[]);
    assert_eq!(machine.status(&job)["status"], "completed");
    let listed = machine.run(&["status"]).expect(0, &[]);
    assert!(format!("{}{}", listed.stdout, listed.stderr).contains("endless.json"), "{listed:?}");
}
