//! Jobs without faults.

use s3_fixture::RealServer;

use super::{Machine, detections_without_faults};

fn run_all_steps(machine: &Machine) {
    let job = machine.submit(14, &[]);
    let waiting = machine.status(&job);
    assert_eq!(
        (waiting["status"].as_str(), waiting["state"].as_str()),
        (Some("pending"), Some("waiting")),
        "{waiting}"
    );
    let worked = machine.run_worker_once().expect(0, &[]);
    assert_eq!(worked.json()["completed"][0], job.as_str(), "{worked:?}");
    let text = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.starts_with("JOB_ID") && text.contains("ready to import"), "{text}");

    let imported = machine.import(&job);
    assert_eq!(imported["already"], false);
    let rows = machine.detections();
    assert_eq!(imported["detections"], rows.len());
    assert_eq!(machine.status(&job)["status"], "imported");
    // A second import changes nothing.
    assert_eq!(machine.import(&job)["already"], true);
    assert_eq!(machine.detections(), rows);
    assert_eq!(rows, detections_without_faults(14));

    let logs = machine.run(&["logs", &job]).expect(0, &[]).stdout;
    for word in ["claimed", "attempt 1 by", "completed", "imported"] {
        assert!(logs.contains(word), "{word}: {logs}");
    }
    machine.run(&["rm", &job]).expect(0, &[]);
    assert_eq!(machine.status(&job)["status"], "imported");
    assert_eq!(machine.detections(), rows);
}

#[test]
fn a_job_runs_through_a_folder() {
    let machine = Machine::with_folder();
    run_all_steps(&machine);
    let checkpoints = std::fs::read_dir(machine.object("checkpoints")).map_or(0, Iterator::count);
    assert_eq!(checkpoints, 0, "the finished job still has checkpoints");
    assert!(!machine.object("jobs").read_dir().unwrap().any(|_| true));
}

#[test]
fn a_job_runs_through_a_real_server() {
    run_all_steps(&Machine::with_server(RealServer::any().connection()));
}

#[test]
fn parameters_reach_the_tracker() {
    let machine = Machine::with_folder();
    let more = ["--sample-interval", "2", "--max-seconds", "0.8", "--confidence-threshold", "0.6"];
    let job = machine.submit(14, &more);
    machine.run_worker_once().expect(0, &[]);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.object(&format!("jobs/{job}.json"))).unwrap()).unwrap();
    assert_eq!(manifest["frames_processed"], 4, "{manifest}");
    machine.import(&job);
    let rows = machine.detections();
    assert!(!rows.is_empty());
    for (frame, _, _, confidence) in rows {
        assert!(frame % 2 == 0 && frame < 8, "{frame}");
        assert!(f64::from_bits(confidence) >= 0.6);
    }
}

#[test]
fn two_streams_track_two_jobs_with_the_same_results() {
    let machine = Machine::with_folder();
    let jobs = [machine.submit(14, &[]), machine.submit(14, &["--again"])];
    let output = machine.worker(&["--once", "--streams", "2", "--worker-id", "rig"]).output().unwrap();
    let served = crate::sandbox::RunOutput::new(output).expect(0, &[]).json();
    let mut completed: Vec<&str> =
        served["completed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    completed.sort_unstable();
    let mut want = jobs.each_ref().map(String::as_str);
    want.sort_unstable();
    assert_eq!(completed, want);
    let results = jobs.each_ref().map(|job| {
        let results = std::fs::read(machine.object(&format!("results/{job}.json"))).unwrap();
        serde_json::from_slice::<serde_json::Value>(&results).unwrap()["detections"].clone()
    });
    assert!(results[0].as_array().unwrap().len() > 5);
    assert_eq!(results[0], results[1]);
    let workers = jobs.each_ref().map(|job| {
        let manifest = std::fs::read(machine.object(&format!("jobs/{job}.json"))).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        manifest["worker_id"].as_str().unwrap().to_owned()
    });
    assert_ne!(workers[0], workers[1]);
    assert!(workers.iter().all(|id| id.starts_with("rig-")), "{workers:?}");
}

#[test]
fn a_worker_exits_when_idle() {
    let machine = Machine::with_folder();
    let exit_reason = |more: &[&str]| {
        let output = crate::sandbox::RunOutput::new(machine.worker(more).output().unwrap()).expect(0, &[]);
        output.json()["ended"].as_str().unwrap().to_owned()
    };
    assert!(exit_reason(&["--once"]).contains("no job"));
    assert!(exit_reason(&["--idle-exit", "1"]).contains("--idle-exit"));
    assert!(exit_reason(&["--max-runtime", "1"]).contains("--max-runtime"));
}

#[test]
fn a_dry_run_prints_an_estimate_and_uploads_nothing() {
    let machine = Machine::with_folder();
    crate::fixture::wide().video(&machine.sandbox, 14, "game.mkv");
    let dry = |more: &[&str]| {
        machine.run(&[&["--json", "submit", "game.mkv", "--dry-run"], more].concat()).expect(0, &[]).json()
    };
    let first = dry(&["--price-per-hour", "2.5", "--fps", "10"]);
    assert_eq!((first["n_frames"].as_u64(), first["gpu_fps"].as_f64()), (Some(14), Some(10.0)));
    assert!(first["cost_dollars"].as_f64().unwrap() > 0.0);
    // The price is remembered. The speed would be that of the last completed job.
    let second = dry(&[]);
    assert_eq!(second["price_per_hour"], 2.5);
    assert!(second["gpu_fps"].is_null() && second["cost_dollars"].is_null());
    assert!(!machine.object("jobs").exists());
}

#[test]
fn detections_that_the_app_deleted_are_imported_again() {
    let machine = Machine::with_folder();
    let job = machine.submit(14, &[]);
    machine.run_worker_once().expect(0, &[]);
    machine.import(&job);
    let before = machine.detections();
    let app = rusqlite::Connection::open(machine.sandbox.path("basketball_analyzer.db")).unwrap();
    for deleted in ["DELETE FROM player_detections WHERE id % 3 = 0", "DELETE FROM player_detections"] {
        app.execute(deleted, []).unwrap();
        machine.run(&["import", "--job-id", &job]).expect(0, &[]);
        assert_eq!(machine.detections(), before, "{deleted}");
    }
}
