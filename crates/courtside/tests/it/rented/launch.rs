//! `courtside launch`: what it shows, what it rents, and what it refuses.

use provider_fixture::{FakeProviders, Fault, Rights};
use s3_fixture::FakeR2;

use super::with_key;
use crate::sandbox::{RunOutput, Running};
use crate::system::Machine;

/// A laptop with one waiting job in a bucket on a server, and RunPod with an image.
fn laptop() -> (FakeR2, FakeProviders, Machine) {
    let (server, fake) = (FakeR2::start(), FakeProviders::start());
    let machine = Machine::with_server(server.connection());
    machine.submit(14, &[]);
    (server, fake, machine)
}

fn launch(fake: &FakeProviders, machine: &Machine, args: &[&str]) -> RunOutput {
    let mut command = with_key(fake, machine, &[&["launch"], args].concat());
    RunOutput::new(command.env("COURTSIDE_IMAGE", fake.image("me/courtside-worker:1")).output().unwrap())
}

#[test]
fn a_dry_run_shows_cards_time_and_dollars_and_rents_nothing() {
    let (_server, fake, machine) = laptop();
    fake.state().add_pod("theirs", "jupyter", "", 1.0);
    let shown = launch(&fake, &machine, &["--dry-run"]).expect(0, &[]).stdout;
    for words in [
        "* NVIDIA H100 80GB HBM3",
        "  NVIDIA A100 80GB PCIe",
        "waiting: 1 job, 14 frames",
        "machines of this bucket: 0; others in the account: 1",
        "to rent: 1 x NVIDIA H100 80GB HBM3 at $2.69 per hour",
        "at most $16.14",
    ] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    assert!(!shown.contains("H200 "), "a card that is not free\n{shown}");
    let json = launch(&fake, &machine, &["--json", "--dry-run", "--gpu", "a100"]).expect(0, &[]).json();
    assert_eq!(
        (&json["offers"][0]["gpu"], &json["n_machines"]),
        (&"NVIDIA A100 80GB PCIe".into(), &1.into())
    );
    assert_eq!(fake.state().n_requests("POST", "/"), 0);
    assert_eq!(fake.state().pods.len(), 1);
}

#[test]
fn a_machine_is_rented_with_secrets_and_limits_and_followed_until_it_is_gone() {
    let (server, fake, machine) = laptop();
    let image = fake.image("me/courtside-worker:1");
    let args = ["launch", "--yes", "--image", &image, "--max-runtime", "90m", "--interval", "1"];
    let mut running = Running::start(with_key(&fake, &machine, &args));
    let pod = running.wait_for("the machine", || fake.state().pods.values().next().cloned());
    let connection = server.connection();
    // The network is away for a moment, as on a laptop that sleeps.
    fake.state().fail("GET", "/v2/pods", Fault::Reset, 8);
    running.wait_for("the look after it", || {
        let looks = fake
            .state()
            .requests
            .iter()
            .rev()
            .take_while(|r| r.method == "GET" && r.path == "/v2/pods")
            .count();
        (looks >= 10).then_some(())
    });
    machine.run_worker_once().expect(0, &[]);
    fake.state().pods.clear();
    let output = running.wait().expect(0, &["all machines are gone. Run"]);
    assert!(
        output.stdout.contains("rented pod1: NVIDIA H100 80GB HBM3, $2.69 per hour"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.lines().all(|line| line.chars().count() <= 80), "{}", output.stdout);
    fake.check_bodies();
    let name = pod["name"].as_str().unwrap();
    assert!(name.starts_with("courtside-") && name.len() == 27, "{name}");
    assert_eq!(
        pod["args"].as_str().unwrap(),
        "worker --cloud --max-runtime 5400 --idle-exit 300 --when-done terminate"
    );
    let env = pod["env"].as_object().unwrap();
    assert_eq!(env["R2_BUCKET_NAME"], connection.bucket);
    for (setting, value) in [
        ("R2_ENDPOINT_URL", &connection.endpoint),
        ("R2_ACCESS_KEY_ID", &connection.access_key_id),
        ("R2_SECRET_ACCESS_KEY", &connection.secret_access_key),
    ] {
        let reference = env[setting].as_str().unwrap();
        let secret =
            reference.strip_prefix("{{ RUNPOD_SECRET_").and_then(|rest| rest.strip_suffix(" }}")).unwrap();
        let stored = fake.state().secrets.iter().find(|(_, name, _)| name == secret).cloned().unwrap();
        assert_eq!(&stored.2, value);
    }
    let shown = format!("{}{}", output.stdout, output.stderr);
    assert!(!shown.contains(&connection.secret_access_key) && !shown.contains("rpa_user"), "{shown}");
}

#[test]
fn ctrl_c_stops_following_and_says_how_to_end_the_machines() {
    let (_server, fake, machine) = laptop();
    let image = fake.image("me/courtside-worker:1");
    let args = ["launch", "--yes", "--image", &image, "--interval", "1"];
    let mut running = Running::start(with_key(&fake, &machine, &args));
    running.wait_for("the machine", || (!fake.state().pods.is_empty()).then_some(()));
    running.signal("INT");
    let words = ["no longer following", "pod1", "courtside machines stop --all"];
    let output = running.wait();
    assert!(output.code == Some(130), "{output:?}");
    output.expect(130, &words);
    assert_eq!(fake.state().pods.len(), 1);
}

#[test]
fn nothing_is_rented_without_a_question() {
    let (_server, fake, machine) = laptop();
    launch(&fake, &machine, &[]).expect(1, &["no terminal to ask on", "--yes"]);
    let refused = launch(&fake, &machine, &["--json"]).expect(1, &[]).json();
    assert!(refused["error"]["hint"].as_str().unwrap().contains("--yes"), "{refused}");
    assert!(fake.state().pods.is_empty());
}

#[test]
fn what_makes_renting_impossible_is_said_with_what_to_do() {
    let (_server, fake, machine) = laptop();
    let yes = |args: &[&str]| launch(&fake, &machine, &[args, &["--yes"]].concat());
    fake.state().has_credit = false;
    yes(&[]).expect(1, &["insufficient balance", "https://console.runpod.io/user/billing"]);
    fake.state().has_credit = true;
    yes(&["--max-price", "2"])
        .expect(1, &["costs $2.69 per hour, more than --max-price 2", "--max-price 2.69"]);
    yes(&["--gpu", "H200"]).expect(1, &["no H200 is free at RunPod now", "--gpu 'NVIDIA A100 80GB PCIe'"]);
    yes(&["--gpu", "RTX 7090"]).expect(1, &["no card whose name contains RTX 7090"]);
    let image = fake.image("me/nothing:1");
    yes(&["--image", &image]).expect(3, &["does not exist, or is not public", "--registry"]);
    yes(&["--image", "a b"]).expect(3, &["not the name of an image"]);
    assert!(fake.state().pods.is_empty());
    fake.state().keys.insert("rpa_user".to_owned(), Rights::Read);
    yes(&[]).expect(3, &["does not allow this key to store the secret", "RUNPOD_API_KEY"]);
    fake.state().keys.clear();
    yes(&[]).expect(3, &["does not allow this key to list the machines", "the bearer token is invalid"]);
    assert!(fake.state().pods.is_empty());
}

#[test]
fn what_is_missing_on_the_laptop_is_said_with_what_to_do() {
    let (server, fake, machine) = laptop();
    let image = fake.image("me/courtside-worker:1");
    let mut no_key = machine.command(&["launch", "--yes", "--image", &image]);
    RunOutput::new(no_key.output().unwrap())
        .expect(3, &["RUNPOD_API_KEY is not set", "console.runpod.io/user/settings"]);
    let no_image = with_key(&fake, &machine, &["launch", "--yes"]).output().unwrap();
    RunOutput::new(no_image).expect(3, &["no image is named", "COURTSIDE_IMAGE"]);
    let folder = Machine::with_folder();
    launch(&fake, &folder, &["--yes"]).expect(3, &["a folder on this machine", "R2_ACCOUNT_ID"]);
    let empty = FakeR2::start();
    launch(&fake, &Machine::with_server(empty.connection()), &["--yes"])
        .expect(1, &["no job waits in the bucket", "courtside submit FILE"]);
    drop(server);
}

#[test]
fn a_price_that_rises_rents_nothing() {
    let (_server, fake, machine) = laptop();
    // Between the plan and the machine: the machine costs more than its card did in the catalogue.
    let image = fake.image("me/courtside-worker:1");
    let args = ["launch", "--yes", "--image", &image, "--interval", "1"];
    fake.state().price_of_new_pods = Some(4.0);
    let output = RunOutput::new(with_key(&fake, &machine, &args).output().unwrap());
    output.expect(1, &["the price rose from $2.69 to $4.00 per hour; nothing was rented for it"]);
    assert!(fake.state().pods.is_empty());
}

#[test]
fn two_laptops_do_not_rent_more_machines_than_jobs_wait() {
    let (server, fake, machine) = laptop();
    launch(&fake, &machine, &["--yes", "--detach"]).expect(0, &[]);
    let other = Machine::with_server(server.connection());
    launch(&fake, &other, &["--yes", "--detach"])
        .expect(1, &["already rented: 1 machine, for 1 waiting job", "--count 1"]);
    launch(&fake, &other, &["--yes", "--detach", "--count", "1"]).expect(0, &[]);
    assert_eq!(fake.state().pods.len(), 2);
    // A secret is stored once.
    assert_eq!(fake.state().secrets.len(), 3);
}

#[test]
fn a_lost_answer_is_not_a_second_machine() {
    let (_server, fake, machine) = laptop();
    fake.state().fail("POST", "/v2/pods", Fault::EffectThenReset, 1);
    let output = launch(&fake, &machine, &["--yes", "--detach"]).expect(0, &[]);
    assert!(output.stdout.contains("rented pod1"), "{}", output.stdout);
    assert_eq!(fake.state().pods.len(), 1);
}

#[test]
fn a_machine_whose_answer_cannot_be_read_is_found_by_its_name() {
    let (_server, fake, machine) = laptop();
    fake.state().fail("POST", "/v2/pods", Fault::EffectThenGarbage, 1);
    let output = launch(&fake, &machine, &["--yes", "--detach", "--interval", "1"]).expect(0, &[]);
    assert!(output.stdout.contains("rented pod1"), "{}", output.stdout);
    // Without a trace of the machine, it may exist or not.
    fake.state().pods.clear();
    fake.state().fail("POST", "/v2/pods", Fault::Reset, 1);
    let words = ["it is not known whether courtside-", "courtside machines"];
    launch(&fake, &machine, &["--yes", "--detach", "--interval", "1"]).expect(4, &words);
}

#[test]
fn a_private_image_is_pulled_with_the_login_of_its_registry() {
    let (_server, fake, machine) = laptop();
    let image = fake.image("me/private:1");
    let args = ["launch", "--yes", "--detach", "--image", &image, "--registry", "reg_1"];
    RunOutput::new(with_key(&fake, &machine, &args).output().unwrap()).expect(0, &[]);
    let bodies: Vec<String> = fake
        .state()
        .requests
        .iter()
        .filter(|r| r.method == "POST" && r.path == "/v2/pods")
        .map(|r| r.body.clone())
        .collect();
    assert!(bodies.len() == 1 && bodies[0].contains("\"registry\":\"reg_1\""), "{bodies:?}");
    fake.check_bodies();
}

#[test]
fn machines_that_end_without_their_work_are_an_error() {
    let (_server, fake, machine) = laptop();
    let image = fake.image("me/courtside-worker:1");
    let args = ["launch", "--yes", "--image", &image, "--interval", "1"];
    let mut running = Running::start(with_key(&fake, &machine, &args));
    running.wait_for("the machine", || (!fake.state().pods.is_empty()).then_some(()));
    fake.state().pods.clear();
    running.wait().expect(1, &["all machines are gone; still waiting: 1 job", "courtside launch"]);
}

#[test]
fn a_mistyped_machine_is_not_reported_as_ended() {
    let (_server, fake, machine) = laptop();
    launch(&fake, &machine, &["--yes", "--detach"]).expect(0, &[]);
    let stop = |id: &str| {
        let mut command = with_key(&fake, &machine, &["machines", "stop", id]);
        RunOutput::new(command.output().unwrap())
    };
    stop("pod1x").expect(1, &["there is no machine pod1x", "courtside machines"]);
    assert_eq!(fake.state().pods.len(), 1);
    stop("pod1").expect(0, &[]);
    assert!(fake.state().pods.is_empty());
}

#[test]
fn submit_and_launch_in_one_command() {
    let (server, fake) = (FakeR2::start(), FakeProviders::start());
    let machine = Machine::with_server(server.connection());
    crate::fixture::wide().video(&machine.sandbox, 14, "game.mkv");
    let mut command = with_key(&fake, &machine, &["submit", "game.mkv", "--launch", "--yes"]);
    command.env("COURTSIDE_IMAGE", fake.image("me/courtside-worker:1"));
    let mut running = Running::start(command);
    running.wait_for("the machine", || (!fake.state().pods.is_empty()).then_some(()));
    running.signal("INT");
    let output = running.wait().expect(130, &["courtside machines stop --all"]);
    assert!(output.stdout.contains("submitted job"), "{}", output.stdout);
}
