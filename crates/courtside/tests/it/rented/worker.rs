//! A worker on a rented machine: after its work, the machine is gone or the user is told.

use provider_fixture::{FakeProviders, Fault};

use super::{POD, on_runpod, on_vast, providers};
use crate::sandbox::{RunOutput, Running};
use crate::system::Machine;

/// Waits until the pod is gone, and stops the worker as its provider then does.
fn killed_with_its_pod(fake: &FakeProviders, mut worker: Running) -> RunOutput {
    worker.wait_for("the end of the pod", || (!fake.state().pods.contains_key(POD)).then_some(()));
    worker.signal("TERM");
    worker.wait()
}

#[test]
fn a_worker_ends_its_pod_after_everything_is_published() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let job = machine.submit(14, &[]);
    let worker = on_runpod(&fake, machine.worker(&["--idle-exit", "1"]));
    let mut worker = Running::start(worker);
    worker.wait_for("the end of the pod", || (!fake.state().pods.contains_key(POD)).then_some(()));
    // The worker still runs, and its job is complete.
    let done = machine.status(&job);
    assert_eq!(done["status"], "completed");
    worker.signal("TERM");
    let output = worker.wait().expect(0, &["once there is nothing left to do", "RunPod ends pod-1"]);
    assert!(!format!("{}{}", output.stdout, output.stderr).contains("PODSECRET"), "{output:?}");
    // The records say where the job was tracked, and what that cost.
    let rented = &done["machine"];
    assert_eq!((rented["provider"].as_str(), rented["id"].as_str()), (Some("RunPod"), Some(POD)));
    assert_eq!(
        (rented["kind"].as_str(), rented["price_per_hour"].as_f64()),
        (Some("NVIDIA H100 80GB HBM3"), Some(3.6))
    );
    assert!(rented["cost_dollars"].as_f64().is_some_and(|cost| cost > 0.0 && cost < 0.2), "{rented}");
    let results = std::fs::read(machine.object(&format!("results/{job}.json"))).unwrap();
    let results: serde_json::Value = serde_json::from_slice(&results).unwrap();
    assert_eq!(results["machine"]["id"], POD);
    let logs = machine.run(&["logs", &job]).expect(0, &[]).stdout;
    assert!(logs.contains("claimed on RunPod pod-1 (NVIDIA H100 80GB HBM3, $3.60 per hour)"), "{logs}");
    assert!(machine.run(&["status"]).expect(0, &[]).stdout.contains(" at RunPod"));
    machine.import(&job);
}

#[test]
fn a_container_that_is_started_again_with_nothing_to_do_ends_its_pod() {
    let (fake, machine) = (providers(), Machine::with_folder());
    fake.state().fail("DELETE", "/v2/pods", Fault::Status(503, "try again"), usize::MAX);
    let mut worker = Running::start(on_runpod(&fake, machine.worker(&["--once"])));
    worker.wait_for("the first refusal", || (fake.state().n_requests("DELETE", "/") > 0).then_some(()));
    // The host fails, and starts the container again.
    worker.kill();
    fake.state().heal();
    let again = Running::start(on_runpod(&fake, machine.worker(&["--once"])));
    killed_with_its_pod(&fake, again).expect(0, &[]);
}

#[test]
fn every_end_that_is_no_stop_ends_the_pod() {
    for (args, code, words) in [
        (&["--idle-exit", "1"][..], 0, "--idle-exit"),
        (&["--once"], 0, "--once"),
        (&["--max-runtime", "1"], 0, "--max-runtime"),
        // An invalid command line would be the same at the next start of the container.
        (&["--once", "--no-such-flag"], 2, "--no-such-flag"),
        (&["--once", "--work-dir", "/proc/none"], 1, "/proc/none"),
    ] {
        let (fake, machine) = (providers(), Machine::with_folder());
        let worker = Running::start(on_runpod(&fake, machine.worker(args)));
        killed_with_its_pod(&fake, worker).expect(code, &["ending this machine (RunPod pod-1)", words]);
    }
}

#[test]
fn a_machine_that_cannot_work_is_ended() {
    let (fake, machine) = (providers(), Machine::with_folder());
    // Without ffmpeg, with settings that cannot be read, and without a model.
    let mut no_ffmpeg = on_runpod(&fake, machine.worker(&["--once"]));
    no_ffmpeg.env("COURTSIDE_FFMPEG", "/no/such/ffmpeg");
    killed_with_its_pod(&fake, Running::start(no_ffmpeg))
        .expect(3, &["ending this machine", "/no/such/ffmpeg"]);
    let fake = providers();
    let args = ["worker", "--local", "--once", "--model", "/no/such/model", "--speed-up", "60"];
    let no_model = Running::start(on_runpod(&fake, machine.command(&args)));
    killed_with_its_pod(&fake, no_model).expect(3, &["ending this machine", "/no/such/model"]);
    let fake = providers();
    let mut bad_settings = on_runpod(&fake, machine.worker(&["--once"]));
    bad_settings.env("SINGLE_JOB", "perhaps");
    killed_with_its_pod(&fake, Running::start(bad_settings))
        .expect(3, &["ending this machine", "SINGLE_JOB"]);
}

#[test]
fn a_bucket_that_is_away_is_no_reason_to_end_a_machine_at_once() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let worker = |speed_up: &str| {
        let args = ["worker", "--cloud", "--allow-cpu", "--once", "--speed-up", speed_up];
        let mut worker = on_runpod(&fake, machine.command(&args));
        // No server listens there.
        worker
            .env("R2_ENDPOINT_URL", "http://127.0.0.1:9")
            .env("R2_ACCESS_KEY_ID", "i")
            .env("R2_SECRET_ACCESS_KEY", "s");
        Running::start(worker)
    };
    // The container does not exit into a restart, which would be billed without end.
    let mut patient = worker("1");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(patient.ended().is_none() && fake.state().pods.contains_key(POD));
    patient.signal("TERM");
    patient.wait().expect(130, &["starting again in 30 s"]);
    assert_eq!(fake.state().n_requests("DELETE", "/"), 0);
    // After half an hour, at this pace two seconds, the machine counts as useless.
    let given_up = worker("900");
    killed_with_its_pod(&fake, given_up).expect(4, &["ending this machine (RunPod pod-1)", "127.0.0.1:9"]);
}

#[test]
fn why_a_machine_could_not_work_is_told_after_its_end() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let args = ["worker", "--local", "--once", "--model", "/no/such/model", "--speed-up", "60"];
    let no_model = Running::start(on_runpod(&fake, machine.command(&args)));
    killed_with_its_pod(&fake, no_model).expect(3, &["/no/such/model"]);
    let status = machine.run(&["status"]).expect(0, &[]).stdout;
    assert!(
        status.contains("was ended, because it could not work") && status.contains("/no/such/model"),
        "{status}"
    );
    let notices = machine.run(&["--json", "status"]).expect(0, &[]).json()["machine_notices"].clone();
    assert_eq!((&notices[0]["state"], &notices[0]["machine"]["id"]), (&"ended".into(), &POD.into()));
}

#[test]
fn a_command_line_with_when_done_exit_ends_no_machine() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let command = on_runpod(&fake, machine.worker(&["--when-done", "exit", "--oncee"]));
    Running::start(command).wait().expect(2, &["--oncee"]);
    let status = on_runpod(&fake, machine.command(&["--library", "worker", "status", "--oncee"]));
    Running::start(status).wait().expect(2, &["--oncee"]);
    assert!(fake.state().pods.contains_key(POD));
    let mut bad_log = on_runpod(&fake, machine.worker(&["--once"]));
    bad_log.env("COURTSIDE_LOG", "verbose");
    killed_with_its_pod(&fake, Running::start(bad_log)).expect(3, &["ending this machine", "COURTSIDE_LOG"]);
}

#[test]
fn a_worker_that_is_stopped_leaves_its_machine_to_the_one_who_stopped_it() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let job = machine.submit(14, &[]);
    let mut worker = Running::start(on_runpod(&fake, machine.worker(&["--idle-exit", "600"])));
    worker.wait_for("the claim", || (machine.status(&job)["status"] != "pending").then_some(()));
    worker.signal("TERM");
    worker.wait().expect(130, &[]);
    assert_eq!(fake.state().n_requests("DELETE", "/"), 0);
    assert!(fake.state().pods.contains_key(POD));
}

#[test]
fn a_refusal_is_told_here_and_in_the_bucket_until_it_ends() {
    let (fake, machine) = (providers(), Machine::with_folder());
    fake.state().fail("DELETE", "/v2/pods", Fault::Status(403, "access denied"), usize::MAX);
    let mut worker = Running::start(on_runpod(&fake, machine.worker(&["--once"])));
    let told = "cannot be ended: RunPod does not allow this key to terminate pod pod-1: access denied";
    let status = worker.wait_for("the notice in the bucket", || {
        let status = machine.run(&["status"]).expect(0, &[]).stdout;
        status.contains("WARNING").then_some(status)
    });
    assert!(status.contains(told) && status.contains("https://console.runpod.io/pods"), "{status}");
    let status = machine.run(&["--json", "status"]).expect(0, &[]).json();
    assert_eq!(status["machine_notices"][0]["machine"]["id"], POD);
    let doctor = machine.run(&["doctor"]).stdout;
    assert!(doctor.contains(told), "{doctor}");
    assert!(worker.ended().is_none(), "it exited into a restart");
    fake.state().heal();
    killed_with_its_pod(&fake, worker)
        .expect(0, &["WARNING: this machine (RunPod pod-1) has nothing to do", told]);
    assert!(!machine.run(&["status"]).expect(0, &[]).stdout.contains("WARNING"));
}

#[test]
fn a_worker_that_waits_for_its_provider_can_be_stopped() {
    let (fake, machine) = (providers(), Machine::with_folder());
    fake.state().fail("DELETE", "/v2/pods", Fault::Status(403, "access denied"), usize::MAX);
    let mut worker =
        Running::start(on_runpod(&fake, machine.worker(&["--once", "--when-done", "terminate"])));
    let notices = machine.object("workers");
    worker.wait_for("the notice", || notices.read_dir().ok()?.next().map(drop));
    worker.signal("TERM");
    let output = worker.wait().expect(130, &["RunPod pod-1 was not ended", "https://console.runpod.io/pods"]);
    assert!(!output.stderr.contains("PODSECRET"));
}

#[test]
fn a_machine_that_runs_on_although_its_provider_agreed_is_reported() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let mut worker = Running::start(on_runpod(&fake, machine.worker(&["--once"])));
    let status = worker.wait_for("the notice in the bucket", || {
        let status = machine.run(&["status"]).expect(0, &[]).stdout;
        status.contains("WARNING").then_some(status)
    });
    assert!(status.contains("RunPod agreed to end it, and it still runs"), "{status}");
    worker.signal("TERM");
    worker.wait();
}

#[test]
fn on_vast_a_false_success_stops_the_instance() {
    let (fake, machine) = (providers(), Machine::with_folder());
    fake.state().fail("DELETE", "/api", Fault::SuccessFalse, usize::MAX);
    let mut worker = Running::start(on_vast(&fake, machine.worker(&["--once"])));
    worker.wait_for("the stop", || (fake.state().instances["42"] == "stopped").then_some(()));
    worker.signal("TERM");
    worker
        .wait()
        .expect(0, &["stops it: its disk still costs something", "https://cloud.vast.ai/instances/"]);
}

#[test]
fn what_happens_at_the_end_can_be_chosen() {
    let (fake, machine) = (providers(), Machine::with_folder());
    let run = |args: &[&str]| RunOutput::new(on_runpod(&fake, machine.worker(args)).output().unwrap());
    run(&["--once", "--when-done", "exit"]).expect(0, &[]);
    run(&["--once", "--when-done", "printf '%s' \"$COURTSIDE_REASON\" > reason"]).expect(0, &[]);
    assert_eq!(machine.sandbox.read("reason"), b"there is no job to claim (--once)");
    run(&["--once", "--when-done", "exit 7"]).expect(1, &["the command of --when-done failed", "7"]);
    let set = |value: &str| {
        let mut command = on_runpod(&fake, machine.worker(&["--once"]));
        RunOutput::new(command.env("WORKER_WHEN_DONE", value).output().unwrap())
    };
    set("exit").expect(0, &[]);
    assert!(fake.state().pods.contains_key(POD));
    // Elsewhere, there is no machine to end.
    let elsewhere = machine.worker(&["--once", "--when-done", "terminate"]).output().unwrap();
    RunOutput::new(elsewhere).expect(3, &["no machine of RunPod or Vast", "--when-done exit"]);
    RunOutput::new(machine.worker(&["--once"]).output().unwrap()).expect(0, &[]);
}
