//! Follows rented machines until they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use providers::{PodStatus, Rented};
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::{counted, notify, printable};

use super::create::ROUNDING;
use super::{Jobs, Renter, provider_failure};

/// The machines and the jobs at one moment.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Update {
    /// Machines that still exist.
    pub(crate) machines: Vec<Rented>,
    /// Dollars so far, of all machines that are followed.
    pub(crate) cost_dollars: f64,
    pub(crate) n_waiting: usize,
    pub(crate) n_processing: usize,
    pub(crate) n_completed: usize,
    /// Frames tracked and to track, of the jobs that are being processed.
    pub(crate) frames: Option<(u64, u64)>,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |status| self.machines.iter().filter(|machine| machine.status == status).count();
        let (n, running) = (counted(self.machines.len(), "machine"), count(PodStatus::Running));
        write!(f, "{running} of {n} running, ${:.2} so far; ", self.cost_dollars)?;
        write!(f, "{} waiting, {} processing", self.n_waiting, self.n_processing)?;
        match self.frames {
            Some((done, total)) if total > 0 => {
                writeln!(f, " ({:.0}%)", 100.0 * done.min(total) as f64 / total as f64)
            }
            _ => writeln!(f),
        }
    }
}

/// How following machines ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Followed {
    /// No machine is left.
    Gone,
    /// The updates are no longer read; the machines run on.
    Unread,
}

/// Looks without any machine after which they are gone. One alone may be the list of a server that does not know a new
/// machine yet.
const EMPTY_LOOKS: u32 = 3;
/// Time after which a machine should run.
const STARTED_AFTER: Duration = Duration::from_secs(20 * 60);

/// Follows the machines with these ids until none is left. Errors of the network are reported once, and do not end it: a
/// laptop may sleep meanwhile. Says once of each machine if it does not start, or costs more than `agreed` per hour.
///
/// # Errors
/// [`Kind::Interrupted`] after a stop; the machines run on.
pub(crate) async fn follow(
    client: &Client,
    renter: &Renter,
    ids: &[String],
    agreed: f64,
    interval: Duration,
    stop: &Stop,
    mut show: impl FnMut(&Update) -> Outcome<bool>,
) -> Outcome<Followed> {
    let (mut costs, mut has_failed, mut shown) = (BTreeMap::new(), false, None);
    let (mut n_empty, mut warned) = (0, BTreeSet::new());
    loop {
        let update = tokio::select! {
            update = look(client, renter, ids, &mut costs) => update,
            () = stop.wait() => return Err(interrupted(ids)),
        };
        match update {
            Ok(update) if update.machines.is_empty() => {
                n_empty += 1;
                if n_empty >= EMPTY_LOOKS {
                    return Ok(Followed::Gone);
                }
            }
            Ok(update) => {
                (has_failed, n_empty) = (false, 0);
                warn_once(&update.machines, agreed, &mut warned);
                if shown.as_ref() != Some(&update.to_string()) && !show(&update)? {
                    return Ok(Followed::Unread);
                }
                shown = Some(update.to_string());
            }
            Err(failure) if failure.kind == Kind::Remote || failure.is_transient() => {
                if !has_failed {
                    notify(format!("{failure}\n  still following; the machines run on"));
                }
                has_failed = true;
            }
            Err(failure) => return Err(failure.context("the machines run on, and cannot be followed")),
        }
        tokio::select! {
            () = stop.wait() => return Err(interrupted(ids)),
            () = tokio::time::sleep(interval) => {}
        }
    }
}

/// Warns of machines that cost money and do not work. `warned` has what was said before.
fn warn_once(machines: &[Rented], agreed: f64, warned: &mut BTreeSet<(String, &'static str)>) {
    for machine in machines {
        let is_late = machine.age_seconds > STARTED_AFTER.as_secs_f64();
        let is_starting = matches!(machine.status, PodStatus::Provisioning | PodStatus::Starting);
        let is_dear = machine.price_per_hour.is_some_and(|price| price > agreed * ROUNDING);
        let faults = [
            (machine.status == PodStatus::Error, "cannot be started by RunPod"),
            (is_starting && is_late, "has not started for 20 minutes"),
            (is_dear, "costs more than was agreed"),
        ];
        for (_, what) in faults.into_iter().filter(|(is_true, _)| *is_true) {
            if warned.insert((machine.id.clone(), what)) {
                let id = printable(&machine.id);
                notify(format!("WARNING: {id} {what}; end it with `courtside machines stop {id}`"));
            }
        }
    }
}

fn interrupted(ids: &[String]) -> Failure {
    let message =
        format!("no longer following; the machines run on until their work is done: {}", ids.join(", "));
    Failure::msg(Kind::Interrupted, message)
        .hint("`courtside machines` lists them, and `courtside machines stop --all` ends them")
}

/// Reads the machines and the jobs. `costs` keeps what each machine had cost when it was last seen.
async fn look(
    client: &Client,
    renter: &Renter,
    ids: &[String],
    costs: &mut BTreeMap<String, f64>,
) -> Outcome<Update> {
    let machines = renter.fleet.machines().await.map_err(provider_failure)?;
    let followed = machines.into_iter().filter(|machine| ids.contains(&machine.id)).collect();
    let machines = renter.reap(followed).await;
    for machine in &machines {
        // A stopped machine has no price any more.
        costs.extend(machine.cost_dollars().map(|cost| (machine.id.clone(), cost)));
    }
    let jobs = Jobs::read(client).await?;
    let processing = jobs.processing();
    let frames = processing.iter().filter_map(|job| {
        let heartbeat = job.heartbeat.as_ref()?;
        Some((heartbeat.current, heartbeat.total?))
    });
    let frames = frames.reduce(|a, b| (a.0 + b.0, a.1 + b.1));
    Ok(Update {
        cost_dollars: costs.values().sum(),
        n_waiting: jobs.waiting().len(),
        n_processing: processing.len(),
        n_completed: jobs.completed().len(),
        machines,
        frames,
    })
}
