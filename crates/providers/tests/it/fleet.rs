//! The machines of one queue, in an account that has other machines.

use provider_fixture::{FakeProviders, Fault, Rights};
use providers::{ApiKey, Fleet, NewPod, ProviderError, RunPod};

use crate::support::{options, run};

fn fleet(fake: &FakeProviders, key: &str, queue: &str) -> Fleet {
    let api = RunPod::new(ApiKey::new(key).unwrap(), &options(fake).0).unwrap();
    Fleet::new(api, queue)
}

fn new_pod(fleet: &Fleet, unique: &str) -> NewPod {
    NewPod {
        name: fleet.new_name(unique),
        gpu: "NVIDIA H100 80GB HBM3".to_owned(),
        image: "me/courtside-worker:1".to_owned(),
        args: "worker --cloud --max-runtime 3600 --idle-exit 300".to_owned(),
        env: [("R2_BUCKET_NAME".to_owned(), "games".to_owned())].into(),
        disk_gb: 40,
        min_cuda: "12.4".to_owned(),
        is_secure: true,
        registry: None,
    }
}

#[test]
fn a_rented_machine_is_listed_by_every_laptop_of_the_bucket_and_by_no_other() {
    let fake = FakeProviders::start();
    let (ours, other) = (fleet(&fake, "rpa_user", "bucket a"), fleet(&fake, "rpa_user", "bucket b"));
    let pod = run(ours.api().create(&new_pod(&ours, "0123456789"))).unwrap();
    fake.state().add_pod("theirs", "jupyter", "", 1.0);
    let listed = run(fleet(&fake, "rpa_user", "bucket a").machines_and_others()).unwrap();
    assert_eq!((listed.0[0].id.clone(), listed.0.len(), listed.1), (pod.id, 1, 1));
    assert_eq!((listed.0[0].max_runtime_seconds, listed.0[0].price_per_hour), (Some(3600), Some(2.69)));
    assert_eq!(run(other.machines()).unwrap(), []);
    fake.check_bodies();
}

#[test]
fn machines_of_others_are_never_touched() {
    let fake = FakeProviders::start();
    let ours = fleet(&fake, "rpa_user", "bucket a");
    fake.state().add_pod("theirs", "jupyter", "worker --max-runtime 1", 1.0);
    let prefix = fleet(&fake, "rpa_user", "bucket b").prefix();
    fake.state().add_pod("neighbour", &format!("{prefix}0123"), "worker --max-runtime 1", 1.0);
    for id in ["theirs", "neighbour"] {
        let error = run(ours.stop(id)).unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
    }
    let machines = run(ours.machines()).unwrap();
    assert_eq!(run(ours.reap(&machines)).len(), 0);
    let state = fake.state();
    assert_eq!((state.pods.len(), state.n_requests("DELETE", "/")), (2, 0));
}

#[test]
fn a_machine_that_outlives_its_limit_is_deleted() {
    let fake = FakeProviders::start();
    let ours = fleet(&fake, "rpa_user", "bucket a");
    let start = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
    fake.state().now = Some(start);
    run(ours.api().create(&new_pod(&ours, "a"))).unwrap();
    let after = |seconds| {
        fake.state().now = Some(start + time::Duration::seconds(seconds));
        let machines = run(ours.machines()).unwrap();
        let reaped =
            run(ours.reap(&machines)).into_iter().map(|(machine, error)| (machine.name.clone(), error));
        (machines.len(), reaped.collect::<Vec<_>>())
    };
    assert_eq!(after(3600 + 900), (1, Vec::new()));
    fake.state().fail("DELETE", "/", Fault::Status(403, "no"), 1);
    // The error is reported, and the next command tries again.
    assert!(after(3600 + 901).1[0].1.as_ref().unwrap().is_unauthorised());
    assert_eq!(after(3600 + 902), (1, vec![(ours.new_name("a"), None)]));
    assert!(fake.state().pods.is_empty());
}

#[test]
fn a_lost_answer_does_not_rent_a_second_machine() {
    let fake = FakeProviders::start();
    let ours = fleet(&fake, "rpa_user", "bucket a");
    fake.state().fail("POST", "/v2/pods", Fault::EffectThenReset, 1);
    let error = run(ours.api().create(&new_pod(&ours, "a"))).unwrap_err();
    assert!(error.is_transient(), "{error}");
    let machines = run(ours.machines()).unwrap();
    // The caller finds it by its name.
    assert_eq!(machines.iter().map(|m| m.name.clone()).collect::<Vec<_>>(), [ours.new_name("a")]);
}

#[test]
fn what_a_caller_can_do_about_a_refusal_is_in_its_kind() {
    let fake = FakeProviders::start();
    let ours = fleet(&fake, "rpa_user", "bucket a");
    fake.state().has_credit = false;
    let error = run(ours.api().create(&new_pod(&ours, "a"))).unwrap_err();
    assert!(matches!(error, ProviderError::NoCredit { .. }), "{error}");
    fake.state().has_credit = true;
    let pod = NewPod { gpu: "NVIDIA H200".to_owned(), ..new_pod(&ours, "a") };
    let error = run(ours.api().create(&pod)).unwrap_err();
    assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
    fake.state().keys.insert("rpa_read".to_owned(), Rights::Read);
    let error = run(fleet(&fake, "rpa_read", "a").api().create(&new_pod(&ours, "a"))).unwrap_err();
    assert!(error.is_unauthorised(), "{error}");
    fake.state().fail("GET", "/v2/pods", Fault::Garbage, 1);
    let error = run(ours.machines()).unwrap_err();
    assert!(matches!(error, ProviderError::Unreadable { .. }), "{error}");
    assert!(fake.state().pods.is_empty());
}

#[test]
fn a_secret_is_created_once_and_then_replaced() {
    let fake = FakeProviders::start();
    let ours = fleet(&fake, "rpa_user", "bucket a");
    let name = ours.secret_name("R2_SECRET_ACCESS_KEY");
    for value in ["first", "second"] {
        run(ours.api().store_secret(&name, value)).unwrap();
    }
    let stored: Vec<_> =
        fake.state().secrets.iter().map(|(_, name, value)| (name.clone(), value.clone())).collect();
    assert_eq!(stored, [(name, "second".to_owned())]);
    fake.check_bodies();
}
