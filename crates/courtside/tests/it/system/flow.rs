//! The undisturbed way.

use s3_fixture::RealServer;

use super::{Site, undisturbed};

fn whole_way(site: &Site) {
    let job = site.submit(14, &[]);
    let waiting = site.status(&job);
    assert_eq!(
        (waiting["status"].as_str(), waiting["state"].as_str()),
        (Some("pending"), Some("waiting")),
        "{waiting}"
    );
    let worked = site.work().expect(0, &[]);
    assert_eq!(worked.json()["completed"][0], job.as_str(), "{worked:?}");
    let text = site.run(&["status"]).expect(0, &[]).stdout;
    assert!(text.starts_with("JOB_ID") && text.contains("ready to import"), "{text}");

    let imported = site.import(&job);
    assert_eq!(imported["already"], false);
    let rows = site.rows();
    assert_eq!(imported["detections"], rows.len());
    assert_eq!(site.status(&job)["status"], "imported");
    // Again: nothing changes.
    assert_eq!(site.import(&job)["already"], true);
    assert_eq!(site.rows(), rows);
    assert_eq!(rows, undisturbed(14));

    let logs = site.run(&["logs", &job]).expect(0, &[]).stdout;
    for word in ["claimed", "attempt 1 by", "completed", "imported"] {
        assert!(logs.contains(word), "{word}: {logs}");
    }
    site.run(&["rm", &job]).expect(0, &[]);
    site.run(&["status", &job]).expect(1, &["there is no job"]);
    assert_eq!(site.rows(), rows);
}

#[test]
fn a_game_goes_through_the_folder() {
    let site = Site::with_folder();
    whole_way(&site);
    // Nothing but the library, the bucket and the video is left.
    let checkpoints = std::fs::read_dir(site.object("checkpoints")).map_or(0, Iterator::count);
    assert_eq!(checkpoints, 0, "checkpoints of a finished job");
    assert!(!site.object("jobs").read_dir().unwrap().any(|_| true));
}

#[test]
fn a_game_goes_through_a_real_server() {
    whole_way(&Site::with_server(RealServer::any().connection()));
}

#[test]
fn parameters_reach_the_tracker() {
    let site = Site::with_folder();
    let more = ["--sample-interval", "2", "--max-seconds", "0.8", "--confidence-threshold", "0.6"];
    let job = site.submit(14, &more);
    site.work().expect(0, &[]);
    let register: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.object(&format!("jobs/{job}.json"))).unwrap()).unwrap();
    assert_eq!(register["frames_processed"], 4, "{register}");
    site.import(&job);
    let rows = site.rows();
    assert!(!rows.is_empty());
    for (frame, _, _, confidence) in rows {
        assert!(frame % 2 == 0 && frame < 8, "{frame}");
        assert!(f64::from_bits(confidence) >= 0.6);
    }
}

#[test]
fn two_streams_track_two_jobs_at_a_time_to_the_same_results() {
    let site = Site::with_folder();
    let jobs = [site.submit(14, &[]), site.submit(14, &["--sample-interval", "1"])];
    let ran = site.worker(&["--once", "--streams", "2", "--worker-id", "rig"]).output().unwrap();
    let served = crate::program::Ran::of(ran).expect(0, &[]).json();
    let mut completed: Vec<&str> =
        served["completed"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    completed.sort_unstable();
    let mut want = jobs.each_ref().map(String::as_str);
    want.sort_unstable();
    assert_eq!(completed, want);
    let results = jobs.each_ref().map(|job| {
        let results = std::fs::read(site.object(&format!("results/{job}.json"))).unwrap();
        serde_json::from_slice::<serde_json::Value>(&results).unwrap()["detections"].clone()
    });
    assert!(results[0].as_array().unwrap().len() > 5);
    assert_eq!(results[0], results[1]);
    let workers = jobs.each_ref().map(|job| {
        let register = std::fs::read(site.object(&format!("jobs/{job}.json"))).unwrap();
        let register: serde_json::Value = serde_json::from_slice(&register).unwrap();
        register["worker_id"].as_str().unwrap().to_owned()
    });
    assert_ne!(workers[0], workers[1]);
    assert!(workers.iter().all(|id| id.starts_with("rig-")), "{workers:?}");
}

#[test]
fn a_worker_ends_when_there_is_nothing_to_do() {
    let site = Site::with_folder();
    let ended = |more: &[&str]| {
        let ran = crate::program::Ran::of(site.worker(more).output().unwrap()).expect(0, &[]);
        ran.json()["ended"].as_str().unwrap().to_owned()
    };
    assert!(ended(&["--once"]).contains("no job"));
    assert!(ended(&["--idle-exit", "1"]).contains("--idle-exit"));
    assert!(ended(&["--max-runtime", "1"]).contains("--max-runtime"));
}

#[test]
fn a_dry_run_says_what_it_takes_and_uploads_nothing() {
    let site = Site::with_folder();
    crate::fixture::wide().video(&site.place, 14, "game.mkv");
    let dry = |more: &[&str]| {
        site.run(&[&["--json", "submit", "game.mkv", "--dry-run"], more].concat()).expect(0, &[]).json()
    };
    let first = dry(&["--price-per-hour", "2.5", "--fps", "10"]);
    assert_eq!((first["n_frames"].as_u64(), first["gpu_fps"].as_f64()), (Some(14), Some(10.0)));
    assert!(first["cost_dollars"].as_f64().unwrap() > 0.0);
    // The price is remembered; the speed is that of completed jobs, of which there are none.
    let second = dry(&[]);
    assert_eq!(second["price_per_hour"], 2.5);
    assert!(second["gpu_fps"].is_null() && second["cost_dollars"].is_null());
    assert!(!site.object("jobs").exists());
}
