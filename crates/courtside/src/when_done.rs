//! What happens once a worker has nothing left to do, or cannot work on this machine: a rented machine is ended, because
//! its provider starts a container again that exits, and charges for it.
//!
//! Everything is published before. If the provider refuses, the program says so, on standard error and in the bucket, and
//! waits instead of exiting, and tries again from time to time.

use std::io::IsTerminal;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jobs::bucket::Bucket;
use jobs::env::Env;
use jobs::machines::{MachineNotice, MachineState, REPEAT_AFTER};
use jobs::manifest::RentedMachine;
use providers::{Ended, Machine, MachineInfo, ProviderOptions};

use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;

/// How long a provider may take to stop a machine after it has agreed to.
const AGREED: Duration = Duration::from_secs(120);
/// Longest wait for what the provider says about the machine, before the work begins.
const DESCRIBED: Duration = Duration::from_secs(20);
/// The environment variable with the reason, for a command.
const REASON: &str = "COURTSIDE_REASON";

/// What happens when a worker has nothing left to do, or cannot work on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WhenDone {
    /// End the machine if a known provider rents it out; otherwise exit.
    Auto,
    Exit,
    /// End the machine.
    Terminate,
    /// Run this command with `sh -c`, and exit.
    Command(String),
}

impl WhenDone {
    /// Parses the value of the flag or the setting. Everything that is no other choice is a command.
    fn parse(text: &str) -> Self {
        match text.trim() {
            "auto" => Self::Auto,
            "exit" => Self::Exit,
            "terminate" => Self::Terminate,
            command => Self::Command(command.to_owned()),
        }
    }
}

/// What to do at the end, and the machine that this is about.
pub(crate) struct WhenOver {
    choice: WhenDone,
    machine: Option<Machine>,
    /// Divides all waiting, in tests.
    pace: u32,
}

/// Where the worker is known, so that its users learn about its machine.
pub(crate) struct Place {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) worker_id: String,
    pub(crate) machine: Option<RentedMachine>,
}

impl WhenOver {
    /// Combines the flag, or else `WORKER_WHEN_DONE`, with the machine that the environment describes.
    ///
    /// # Errors
    /// If this machine is to be ended, and no provider is known to rent it out.
    pub(crate) fn new(flag: Option<&str>, pace: u32) -> Outcome<Self> {
        let lookup = |name: &str| std::env::var(name).ok();
        let set = || lookup("WORKER_WHEN_DONE").filter(|value| !value.is_empty());
        let choice =
            flag.map(str::to_owned).or_else(set).map_or(WhenDone::Auto, |text| WhenDone::parse(&text));
        let options = ProviderOptions { pace, ..ProviderOptions::from_env(&lookup) };
        let machine = Machine::detect(&lookup, &options).map_err(|e| Failure::new(Kind::Config, e))?;
        if choice == WhenDone::Terminate && machine.is_none() {
            let message = "--when-done terminate: this is no machine of RunPod or Vast";
            return Err(Failure::msg(Kind::Config, message).hint(
                "set RUNPOD_POD_ID and RUNPOD_API_KEY, or CONTAINER_ID and CONTAINER_API_KEY; or use --when-done exit",
            ));
        }
        Ok(Self { choice, machine, pace: pace.max(1) })
    }

    /// Says at the beginning what will happen at the end, if that is more than exiting.
    pub(crate) fn announce(&self) {
        if let Some(machine) = self.ends_machine() {
            notify(format!(
                "once there is nothing left to do, this machine ({} {}) is ended; --when-done exit keeps it",
                machine.provider(),
                machine.id()
            ));
        }
    }

    /// The machine that is ended at the end.
    fn ends_machine(&self) -> Option<&Machine> {
        let is_chosen = matches!(self.choice, WhenDone::Auto | WhenDone::Terminate);
        self.machine.as_ref().filter(|_| is_chosen)
    }

    /// What the provider says about this machine, for the records of jobs, if it is a rented one.
    pub(crate) async fn describe(&self) -> Option<MachineInfo> {
        let machine = self.machine.as_ref()?;
        let unknown = || MachineInfo {
            provider: machine.provider(),
            id: machine.id().to_owned(),
            name: None,
            kind: None,
            price_per_hour: None,
            age: None,
        };
        match tokio::time::timeout(DESCRIBED / self.pace, machine.describe()).await {
            Ok(Ok(info)) => Some(info),
            Ok(Err(error)) => {
                notify(format!("the price of this machine is unknown: {error}"));
                Some(unknown())
            }
            Err(_) => Some(unknown()),
        }
    }

    /// Whether the machine is ended at the end.
    pub(crate) fn is_machine_ended(&self) -> bool {
        self.ends_machine().is_some()
    }

    /// Does what was chosen, for `reason`; without one, nothing. Returns `result`, unless something goes wrong here.
    pub(crate) fn finish(
        &self,
        reason: Option<String>,
        result: Outcome<()>,
        place: Option<&Place>,
        stop: &Stop,
    ) -> Outcome<()> {
        let Some(reason) = reason.filter(|_| !stop.requested()) else { return result };
        if let WhenDone::Command(command) = &self.choice {
            return run_command(command, &reason).and(result);
        }
        let Some(machine) = self.ends_machine() else { return result };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start threads"))?;
        notify(format!("ending this machine ({} {}): {reason}", machine.provider(), machine.id()));
        let is_useless = result.as_ref().is_err_and(|failure| failure.kind != Kind::Job);
        let useless = is_useless.then_some(reason.as_str());
        runtime.block_on(self.end(machine, useless, place, stop)).and(result)
    }

    /// Ends the machine. Returns once this program is told to stop, as it is when its machine ends. `useless`: why it could
    /// not work, which the user finds in the bucket once the machine is gone, and its log with it.
    async fn end(
        &self,
        machine: &Machine,
        useless: Option<&str>,
        place: Option<&Place>,
        stop: &Stop,
    ) -> Outcome<()> {
        loop {
            if let Some(why) = useless {
                let hint = "correct that, then run `courtside launch`, or start a worker elsewhere";
                self.publish(MachineState::Ended, why, hint, place).await;
            }
            let ended = tokio::select! {
                ended = machine.terminate() => ended,
                () = stop.wait() => return Err(stopped(machine)),
            };
            let why = match ended {
                Ok(ended) => {
                    notify(agreed(machine, ended));
                    match (ended, useless) {
                        (Ended::Stopped, _) => {
                            let hint = format!("delete it at {}", machine.console());
                            let why = "the provider refused to delete it";
                            self.publish(MachineState::Stopped, why, &hint, place).await;
                        }
                        (_, None) => withdraw(place).await,
                        (_, Some(_)) => {}
                    }
                    if self.is_stopped_within(AGREED, stop).await {
                        return Ok(());
                    }
                    still_running(machine, ended)
                }
                Err(error) => error.to_string(),
            };
            self.tell(machine, &why, place).await;
            if self.is_stopped_within(REPEAT_AFTER, stop).await {
                return Err(stopped(machine));
            }
        }
    }

    /// Waits until the program is told to stop. Returns false if it is not within this time.
    async fn is_stopped_within(&self, time: Duration, stop: &Stop) -> bool {
        tokio::time::timeout(time / self.pace, stop.wait()).await.is_ok()
    }

    /// Tells the user that the machine costs money for nothing, here and in the bucket.
    async fn tell(&self, machine: &Machine, why: &str, place: Option<&Place>) {
        let (provider, id) = (machine.provider(), machine.id());
        let hint = format!("end it yourself at {}", machine.console());
        notify(format!(
            "WARNING: this machine ({provider} {id}) has nothing to do, costs money, and cannot be ended: {why}\n  \
             hint: {hint}; trying again in {} minutes",
            REPEAT_AFTER.as_secs() / 60
        ));
        self.publish(MachineState::Running, why, &hint, place).await;
    }

    /// Writes a notice about the machine to the bucket, if that is open.
    async fn publish(&self, state: MachineState, why: &str, hint: &str, place: Option<&Place>) {
        let Some(Place { bucket, env, worker_id, machine: Some(machine) }) = place else { return };
        let notice = MachineNotice::new(worker_id, machine.clone(), state, why, hint, &**env);
        if let Err(error) = notice.write(&**bucket).await {
            notify(format!("cannot write that to the bucket either: {error}"));
        }
    }
}

/// Ends a rented machine whose worker cannot be started with this command line and these settings: the next start would be
/// the same. Elsewhere, and if a person typed the command there, does nothing. `when_done`: the value of the flag.
pub(crate) fn after_invalid_start(message: &str, when_done: Option<&str>) {
    if std::io::stderr().is_terminal() {
        return;
    }
    let ended = WhenOver::new(when_done, 1).and_then(|over| {
        let stop = Stop::on_signal("stopping")?;
        over.finish(Some(message.to_owned()), Ok(()), None, &stop)
    });
    if let Err(failure) = ended {
        notify(failure);
    }
}

/// The record of a machine in manifests.
pub(crate) fn record(info: &MachineInfo) -> RentedMachine {
    RentedMachine {
        provider: info.provider.to_owned(),
        id: info.id.clone(),
        kind: info.kind.clone(),
        price_per_hour: info.price_per_hour,
        cost_dollars: None,
    }
}

/// Whether a failure will be the same when the program is started again: then the machine is of no use.
pub(crate) fn is_lasting(failure: &Failure) -> bool {
    match failure.kind {
        Kind::Config | Kind::Usage | Kind::Failed => true,
        // The server may respond later, and the program may not crash or hang again.
        Kind::Remote | Kind::Job | Kind::Internal | Kind::Interrupted => false,
    }
}

/// Removes the notice in the bucket. If that fails, it is soon too old to be believed.
async fn withdraw(place: Option<&Place>) {
    if let Some(Place { bucket, machine: Some(machine), .. }) = place {
        let _ = MachineNotice::remove(machine, &**bucket).await;
    }
}

fn agreed(machine: &Machine, ended: Ended) -> String {
    let (provider, id) = (machine.provider(), machine.id());
    match ended {
        Ended::Deleted => format!("{provider} ends {id}"),
        Ended::WasGone => format!("{provider} says that there is no {id}"),
        Ended::Stopped => format!(
            "{provider} does not delete {id}, but stops it: its disk still costs something\n  hint: delete it at {}",
            machine.console()
        ),
    }
}

/// What is wrong with a machine that the provider had agreed to end.
fn still_running(machine: &Machine, ended: Ended) -> String {
    match ended {
        Ended::WasGone => format!(
            "{} does not show it to its keys, and it still runs; set RUNPOD_TERMINATE_KEY to a key of yours",
            machine.provider()
        ),
        _ => format!("{} agreed to end it, and it still runs", machine.provider()),
    }
}

fn stopped(machine: &Machine) -> Failure {
    let message = format!("{} {} was not ended", machine.provider(), machine.id());
    Failure::msg(Kind::Interrupted, message)
        .hint(format!("if it still exists, end it at {}", machine.console()))
}

/// Runs the user's command. Its output is that of the worker.
fn run_command(command: &str, reason: &str) -> Outcome<()> {
    notify(format!("running the command of --when-done: {reason}"));
    let status = Command::new("sh").args(["-c", command]).env(REASON, reason).status();
    let status = status.map_err(|e| Failure::new(Kind::Failed, e).context("cannot run sh"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::msg(Kind::Failed, format!("the command of --when-done failed ({status})"))
        .hint("run it by hand; it finds the reason in COURTSIDE_REASON"))
}
