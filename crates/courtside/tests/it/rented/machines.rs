//! `courtside machines`, and what other commands do with machines in passing.

use provider_fixture::{FakeProviders, Fault};
use s3_fixture::FakeR2;
use time::{Duration, OffsetDateTime};

use super::with_key;
use crate::sandbox::RunOutput;
use crate::system::Machine;

/// A laptop, and an account with a machine of its bucket and one of another program.
fn account() -> (FakeR2, FakeProviders, Machine) {
    let (server, fake) = (FakeR2::start(), FakeProviders::start());
    let machine = Machine::with_server(server.connection());
    machine.submit(14, &[]);
    fake.state().add_pod("theirs", "jupyter", "", 1.0);
    let image = fake.image("me/courtside-worker:1");
    let args = ["launch", "--yes", "--detach", "--image", &image, "--max-runtime", "1h"];
    RunOutput::new(with_key(&fake, &machine, &args).output().unwrap()).expect(0, &[]);
    (server, fake, machine)
}

fn run(fake: &FakeProviders, machine: &Machine, args: &[&str]) -> RunOutput {
    RunOutput::new(with_key(fake, machine, args).output().unwrap())
}

#[test]
fn machines_of_the_bucket_are_listed_and_ended_and_others_are_not() {
    let (_server, fake, machine) = account();
    let listed = run(&fake, &machine, &["machines"]).expect(0, &[]).stdout;
    assert!(listed.contains("pod1") && listed.contains("2.69") && !listed.contains("theirs"), "{listed}");
    assert!(listed.lines().all(|line| line.chars().count() <= 80), "{listed}");
    let json = run(&fake, &machine, &["--json", "machines", "list"]).expect(0, &[]).json();
    assert_eq!(json["machines"][0]["max_runtime_seconds"], 3600);
    run(&fake, &machine, &["machines", "stop", "theirs"])
        .expect(1, &["still costing money: theirs", "does not begin with"]);
    run(&fake, &machine, &["machines", "stop"]).expect(2, &["<ID>"]);
    fake.state().fail("DELETE", "/", Fault::Status(403, "no"), 1);
    run(&fake, &machine, &["machines", "stop", "--all"]).expect(3, &["still costing money: pod1"]);
    run(&fake, &machine, &["machines", "stop", "--all"]).expect(0, &[]);
    run(&fake, &machine, &["machines", "stop", "pod1"]).expect(1, &["there is no machine pod1"]);
    assert_eq!(fake.state().pods.keys().cloned().collect::<Vec<_>>(), ["theirs"]);
}

#[test]
fn a_machine_that_outlives_its_limit_is_ended_by_the_next_command() {
    for args in [&["status"][..], &["machines"]] {
        let (_server, fake, machine) = account();
        run(&fake, &machine, args).expect(0, &[]);
        assert_eq!(fake.state().pods.len(), 2, "{args:?}");
        fake.state().now = Some(OffsetDateTime::now_utc() + Duration::hours(2));
        run(&fake, &machine, args).expect(0, &["it has outlived its --max-runtime (1:59:"]);
        assert_eq!(fake.state().pods.keys().cloned().collect::<Vec<_>>(), ["theirs"], "{args:?}");
    }
}

#[test]
fn a_provider_that_is_away_does_not_keep_anyone_from_the_status() {
    let (_server, fake, machine) = account();
    fake.state().fail("GET", "/v2/pods", Fault::Hang, usize::MAX);
    let status = run(&fake, &machine, &["status"]).expect(0, &[]);
    assert!(status.stdout.contains("pending"), "{}", status.stdout);
}

#[test]
fn doctor_checks_the_key_and_the_image() {
    let (_server, fake, machine) = account();
    let mut command = with_key(&fake, &machine, &["--json", "doctor"]);
    command.env("COURTSIDE_IMAGE", fake.image("me/nothing:1"));
    let checks = RunOutput::new(command.output().unwrap()).json();
    let find = |name: &str| {
        checks["checks"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned().unwrap()
    };
    assert_eq!(
        find("runpod")["message"],
        "the key is valid; 1 machine of this bucket, others in the account: 1"
    );
    assert_eq!(find("image")["status"], "fail");
    fake.state().keys.clear();
    let checks = run(&fake, &machine, &["doctor"]);
    assert!(checks.stdout.contains("does not allow this key to list the machines"), "{}", checks.stdout);
}

#[test]
fn doctor_says_whether_a_machine_can_end_itself() {
    let (fake, machine) = (super::providers(), Machine::with_folder());
    let doctor = |key: &str| {
        let mut command = super::on_runpod(&fake, machine.command(&["doctor"]));
        RunOutput::new(command.env("RUNPOD_API_KEY", key).output().unwrap()).stdout
    };
    let fine = doctor(super::POD_KEY);
    assert!(fine.contains("RunPod pod-1: NVIDIA H100 80GB HBM3, $3.60 per hour; a worker ends it"), "{fine}");
    let refused = doctor("rpa_unknown");
    assert!(
        refused.contains("a worker cannot end it") && refused.contains("RUNPOD_TERMINATE_KEY"),
        "{refused}"
    );
}
