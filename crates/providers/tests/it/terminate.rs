//! A machine that ends itself, whatever its provider answers.

use provider_fixture::{FakeProviders, Fault, Rights};
use providers::{Ended, ProviderError};

use crate::support::{machine, options, run};

const POD: &str = "pod-1";
const RUNPOD: [(&str, &str); 2] = [("RUNPOD_POD_ID", POD), ("RUNPOD_API_KEY", "rpa_pod")];
const VAST: [(&str, &str); 2] = [("CONTAINER_ID", "42"), ("CONTAINER_API_KEY", "vast_key")];

/// A fake with one machine of each provider, whose keys may end it.
fn fake() -> FakeProviders {
    let fake = FakeProviders::start();
    let mut state = fake.state();
    state.add_pod(POD, "courtside-00000000-11111111", "worker", 2.5);
    state.instances.insert("42".to_owned(), "running");
    state.keys.insert("rpa_pod".to_owned(), Rights::Machine(POD.to_owned()));
    state.keys.insert("vast_key".to_owned(), Rights::Machine("42".to_owned()));
    drop(state);
    fake
}

#[test]
fn a_machine_knows_its_card_and_its_price() {
    let fake = fake();
    let pod = run(machine(&fake, &RUNPOD).describe()).unwrap();
    assert_eq!((pod.provider, pod.kind.as_deref()), ("RunPod", Some("NVIDIA H100 80GB HBM3")));
    assert_eq!((pod.price_per_hour, pod.name.as_deref()), (Some(2.5), Some("courtside-00000000-11111111")));
    let instance = run(machine(&fake, &VAST).describe()).unwrap();
    assert_eq!((instance.kind.as_deref(), instance.price_per_hour), (Some("RTX A5000"), Some(0.21)));
}

#[test]
fn a_failure_that_passes_does_not_keep_a_machine() {
    for fault in [
        Fault::Status(500, "boom"),
        Fault::Status(503, "maintenance"),
        Fault::Status(409, "the pod is restarting"),
        Fault::TooMany(7),
        Fault::Hang,
        Fault::Reset,
        Fault::EffectThenReset,
    ] {
        let fake = fake();
        fake.state().fail("DELETE", "/", fault.clone(), 2);
        assert!(run(machine(&fake, &RUNPOD).terminate()).is_ok(), "{fault:?}");
        assert!(fake.state().pods.is_empty(), "{fault:?}");
        fake.state().heal();
        fake.state().fail("DELETE", "/", fault.clone(), 2);
        assert!(run(machine(&fake, &VAST).terminate()).is_ok(), "{fault:?}");
        assert!(fake.state().instances.is_empty(), "{fault:?}");
    }
}

#[test]
fn a_failure_that_lasts_is_reported_and_the_machine_is_not_taken_for_gone() {
    for (fault, words) in [
        (Fault::Status(500, "boom"), "boom"),
        (Fault::Status(401, "missing bearer token"), "missing bearer token"),
        (Fault::Status(403, "access denied"), "access denied"),
        (Fault::Status(409, "belongs to a cluster"), "belongs to a cluster"),
        (Fault::Status(418, "teapot"), "teapot"),
        (Fault::TooMany(1), "rate limit"),
        (Fault::Hang, "does not answer"),
        (Fault::Reset, "connection"),
        (Fault::Garbage, "not JSON"),
    ] {
        let fake = fake();
        fake.state().fail("DELETE", "/", fault.clone(), usize::MAX);
        fake.state().fail("PUT", "/", fault.clone(), usize::MAX);
        for variables in [RUNPOD, VAST] {
            let error = run(machine(&fake, &variables).terminate()).unwrap_err().to_string();
            let id = variables[0].1;
            assert!(error.contains(words) && error.contains(id), "{fault:?}: {error}");
        }
        let state = fake.state();
        assert_eq!((state.pods.len(), state.instances.len()), (1, 1));
    }
}

#[test]
fn the_pauses_between_tries_follow_the_provider() {
    let fake = fake();
    fake.state().fail("DELETE", "/v2", Fault::TooMany(12), 3);
    let (options, clock) = options(&fake);
    let lookup = |name: &str| RUNPOD.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let machine = providers::Machine::detect(&lookup, &options).unwrap().unwrap();
    assert_eq!(run(machine.terminate()), Ok(Ended::Deleted));
    assert_eq!(clock.slept.lock().unwrap().as_secs(), 36);
}

#[test]
fn a_machine_that_is_gone_needs_no_end() {
    let fake = fake();
    fake.state().pods.clear();
    fake.state().instances.clear();
    assert_eq!(run(machine(&fake, &RUNPOD).terminate()), Ok(Ended::WasGone));
    assert_eq!(run(machine(&fake, &VAST).terminate()), Ok(Ended::WasGone));
}

#[test]
fn the_users_key_ends_a_pod_whose_own_key_may_not() {
    let fake = fake();
    let own = [RUNPOD[0], ("RUNPOD_API_KEY", "rpa_unknown")];
    let error = run(machine(&fake, &own).terminate()).unwrap_err();
    assert!(matches!(error, ProviderError::Unauthorised { .. }), "{error}");
    assert!(fake.state().pods.contains_key(POD));
    let both = [own[0], own[1], ("RUNPOD_TERMINATE_KEY", "rpa_user")];
    assert_eq!(run(machine(&fake, &both).terminate()), Ok(Ended::Deleted));
    assert!(fake.state().pods.is_empty());
}

#[test]
fn a_pod_that_its_own_key_cannot_see_is_not_taken_for_gone() {
    let fake = fake();
    fake.state().fail(
        "DELETE",
        "/v2/pods",
        Fault::Status(404, "not found, or not accessible to the caller"),
        1,
    );
    let both = [RUNPOD[0], RUNPOD[1], ("RUNPOD_TERMINATE_KEY", "rpa_user")];
    assert_eq!(run(machine(&fake, &both).terminate()), Ok(Ended::Deleted));
    assert!(fake.state().pods.is_empty());
}

#[test]
fn success_false_is_no_success_and_the_instance_is_stopped_instead() {
    let fake = fake();
    fake.state().fail("DELETE", "/api", Fault::SuccessFalse, usize::MAX);
    assert_eq!(run(machine(&fake, &VAST).terminate()), Ok(Ended::Stopped));
    assert_eq!(fake.state().instances["42"], "stopped");
    fake.state().fail("PUT", "/api", Fault::SuccessFalse, usize::MAX);
    let error = run(machine(&fake, &VAST).terminate()).unwrap_err().to_string();
    assert!(error.contains("the host refuses"), "{error}");
}

#[test]
fn a_machine_without_a_key_says_which_variable_is_missing() {
    let fake = fake();
    let error = run(machine(&fake, &[RUNPOD[0]]).terminate()).unwrap_err().to_string();
    assert!(error.contains("RUNPOD_API_KEY is not set"), "{error}");
    let error = run(machine(&fake, &[("VAST_CONTAINERLABEL", "C.42")]).terminate()).unwrap_err().to_string();
    assert!(error.contains("CONTAINER_API_KEY is not set"), "{error}");
}

#[test]
fn no_key_is_in_an_error_or_in_debug_output() {
    let fake = fake();
    let variables = [RUNPOD[0], ("RUNPOD_API_KEY", "rpa_SECRET")];
    let machine = machine(&fake, &variables);
    fake.state().keys.insert("rpa_SECRET".to_owned(), Rights::Read);
    // The fake repeats the key in its answer.
    let error = run(machine.terminate()).unwrap_err();
    for shown in [error.to_string(), format!("{error:?}"), format!("{machine:?}")] {
        assert!(!shown.contains("SECRET"), "{shown}");
    }
    assert!(error.to_string().contains("access denied to the key (hidden)"), "{error}");
}
