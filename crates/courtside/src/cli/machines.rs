//! `courtside machines`.

use std::fmt;
use std::time::Duration;

use clap::Subcommand;
use providers::{Deletion, Rented};
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::progress::clock;
use client::terminal::printable;

use super::Context;
use crate::rent::{Renter, provider_failure};

/// Longest wait of a command that only looks after machines in passing.
const IN_PASSING: Duration = Duration::from_secs(5);

/// List or end the machines that were rented for this bucket
///
/// Machines of RunPod whose name begins with `courtside-` and the hash of the bucket, whichever laptop rented them. No other
/// machine is touched. A machine that has outlived its --max-runtime is ended.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the machines, with age, price and state (the default)
    List,
    /// End machines: they are deleted, and cost nothing any more
    ///
    /// A job that is in progress there is resumed by the next worker from its last checkpoint.
    Stop {
        /// IDs or names of machines
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// End all machines of this bucket
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let renter = Renter::new(&context.client)?;
        match self.action {
            None | Some(Action::List) => {
                let machines = context.block_on(async {
                    let machines = renter.fleet.machines().await.map_err(provider_failure)?;
                    Ok(renter.reap(machines).await)
                })?;
                context.print(&Machines { machines: machines.into_iter().map(Shown::from).collect() })
            }
            Some(Action::Stop { ids, all }) => {
                let stopped = context.block_on(stop(&renter, &ids, all))?;
                context.print(&stopped)?;
                stopped.result()
            }
        }
    }
}

/// Ends machines that have outlived their `--max-runtime`, in passing: if a key and a bucket on a server are set, and
/// without a word if the provider does not answer soon.
pub(super) async fn reap_overdue(client: &Client) {
    let Some(renter) = Renter::if_configured(client) else { return };
    let reap = async {
        if let Ok(machines) = renter.fleet.machines().await {
            renter.reap(machines).await;
        }
    };
    let _ = tokio::time::timeout(IN_PASSING, reap).await;
}

/// Ends the machines that the user names, or all. Continues after an error.
async fn stop(renter: &Renter, ids: &[String], all: bool) -> Outcome<Stopped> {
    let machines = renter.reap(renter.fleet.machines().await.map_err(provider_failure)?).await;
    let chosen: Vec<String> = match all {
        true => machines.iter().map(|machine| machine.id.clone()).collect(),
        false => ids.iter().map(|name| id_of(&machines, name)).collect(),
    };
    let mut stopped = Stopped::default();
    for id in chosen {
        match renter.fleet.stop(&id).await {
            Ok(Deletion::Deleted) => stopped.stopped.push(id),
            Ok(Deletion::NotFound) if machines.iter().any(|machine| machine.id == id) => {
                stopped.stopped.push(id)
            }
            Ok(Deletion::NotFound) => stopped.unknown.push(id),
            Err(error) => stopped.failed.push((id, provider_failure(error))),
        }
    }
    Ok(stopped)
}

/// The id of a machine that is named by its id or its name.
fn id_of(machines: &[Rented], name: &str) -> String {
    machines.iter().find(|machine| machine.name == name).map_or(name, |machine| &machine.id).to_owned()
}

/// A machine as it is listed.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    machine: Rented,
    cost_dollars: Option<f64>,
}

impl From<Rented> for Shown {
    fn from(machine: Rented) -> Self {
        Self { cost_dollars: machine.cost_dollars(), machine }
    }
}

#[derive(Debug, Serialize)]
struct Machines {
    machines: Vec<Shown>,
}

impl fmt::Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:<12} {:>9} {:>7} {:>8}  CARD", "ID", "STATE", "AGE", "$/HOUR", "SO FAR")?;
        for Shown { machine, cost_dollars } in &self.machines {
            let dollars =
                |amount: Option<f64>| amount.map_or("?".to_owned(), |amount| format!("{amount:.2}"));
            let age = clock(Duration::try_from_secs_f64(machine.age_seconds).unwrap_or_default());
            writeln!(
                f,
                "{:<16} {:<12} {age:>9} {:>7} {:>8}  {}",
                printable(&machine.id),
                machine.status.as_str(),
                dollars(machine.price_per_hour),
                dollars(*cost_dollars),
                printable(machine.gpu.as_deref().unwrap_or("?"))
            )?;
        }
        Ok(())
    }
}

#[derive(Debug, Default, Serialize)]
struct Stopped {
    stopped: Vec<String>,
    /// What the user named and does not exist.
    unknown: Vec<String>,
    #[serde(skip)]
    failed: Vec<(String, Failure)>,
}

impl Stopped {
    /// The last failure, which names all machines that were not ended.
    fn result(mut self) -> Outcome<()> {
        let ids: Vec<String> = self.failed.iter().map(|(id, _)| id.clone()).collect();
        match self.failed.pop() {
            Some((_, failure)) => {
                Err(failure.context(format!("not ended, and still costing money: {}", ids.join(", "))))
            }
            None if !self.unknown.is_empty() => {
                let names: Vec<String> = self.unknown.iter().map(|name| printable(name)).collect();
                Err(Failure::msg(Kind::Failed, format!("there is no machine {}", names.join(", ")))
                    .hint("run `courtside machines` to list the machines of this bucket"))
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stopped.is_empty() && self.failed.is_empty() && self.unknown.is_empty() {
            return writeln!(f, "there is no machine of this bucket");
        }
        self.stopped.iter().try_for_each(|id| writeln!(f, "ended {}", printable(id)))
    }
}
