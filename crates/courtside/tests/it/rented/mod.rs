//! Rented machines: workers that end their own, and `launch` and `machines`, against a fake RunPod and a fake Vast.

mod launch;
mod machines;
mod worker;

use std::process::Command;

use provider_fixture::{FakeProviders, Rights};

use crate::system::Machine;

/// The id of the pod that workers run on.
const POD: &str = "pod-1";
/// A key of a pod. It must never be shown.
const POD_KEY: &str = "rpa_PODSECRET";

/// A fake RunPod with one pod that may end itself, and a fake Vast with one instance.
fn providers() -> FakeProviders {
    let fake = FakeProviders::start();
    let mut state = fake.state();
    state.add_pod(POD, "mine", "worker", 3.6);
    state.keys.insert(POD_KEY.to_owned(), Rights::Machine(POD.to_owned()));
    state.instances.insert("42".to_owned(), "running");
    state.keys.insert("vast_SECRET".to_owned(), Rights::Machine("42".to_owned()));
    drop(state);
    fake
}

/// A worker on the pod, with what RunPod sets there.
fn on_runpod(fake: &FakeProviders, mut command: Command) -> Command {
    command.env("RUNPOD_POD_ID", POD).env("RUNPOD_API_KEY", POD_KEY).env("RUNPOD_API_URL", fake.url());
    command
}

/// A worker on the instance, with what Vast sets there.
fn on_vast(fake: &FakeProviders, mut command: Command) -> Command {
    command.env("CONTAINER_ID", "42").env("CONTAINER_API_KEY", "vast_SECRET").env("VAST_API_URL", fake.url());
    command
}

/// A laptop's command with the user's key.
fn with_key(fake: &FakeProviders, machine: &Machine, args: &[&str]) -> Command {
    let mut command = machine.command(args);
    command.env("RUNPOD_API_KEY", "rpa_user").env("RUNPOD_API_URL", fake.url());
    command
}
