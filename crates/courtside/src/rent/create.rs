//! Renting the machines of a plan, one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use providers::{Pod, ProviderError};
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::{notify, printable};

use super::plan::{Offer, Plan};
use super::{Jobs, Renter, new_pod, provider_failure, store_settings};

/// A price that is at most this much higher than the one that was shown is the same one, rounded.
pub(crate) const ROUNDING: f64 = 1.001;

/// Looks for a machine that RunPod may not show yet.
const MAX_LOOKS: u32 = 4;

/// What the user has agreed to, and how long to wait for what.
pub(crate) struct Order<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) offer: &'a Offer,
    /// Whether the user gave the number of machines. Otherwise, no more are rented than jobs wait, also if another command
    /// rents at the same time.
    pub(crate) insists: bool,
    /// Time between two looks at the machines.
    pub(crate) interval: Duration,
    pub(crate) stop: &'a Stop,
}

impl Order<'_> {
    /// Whether a machine existed before, or was rented for this order.
    fn knows(&self, rented: &Rented, id: &String) -> bool {
        self.plan.existing.contains(id) || rented.machines.iter().any(|machine| machine.id == *id)
    }
}

/// Rents the machines of a plan. Stops where another command has rented machines meanwhile, no job waits any more, or the
/// user stops it. An error after the first machine is part of the result.
pub(crate) async fn rent(client: &Client, renter: &Renter, order: &Order<'_>) -> Outcome<Rented> {
    let env = store_settings(renter).await.map_err(provider_failure)?;
    let mut rented = Rented::default();
    while rented.machines.len() < order.plan.n_machines && !order.stop.requested() {
        match rent_next(client, renter, order, &rented, &env).await {
            Ok(Some(machine)) => rented.machines.push(machine),
            Ok(None) => break,
            Err(failure) if rented.machines.is_empty() => return Err(failure),
            Err(failure) => {
                notify(format!("{failure}"));
                rented.failure = Some(failure);
                break;
            }
        }
    }
    Ok(rented)
}

/// Rents one more machine; `None` if it is no longer needed.
async fn rent_next(
    client: &Client,
    renter: &Renter,
    order: &Order<'_>,
    rented: &Rented,
    env: &BTreeMap<String, String>,
) -> Outcome<Option<RentedOne>> {
    let Order { offer, insists, .. } = order;
    let existing = renter.fleet.machines().await.map_err(provider_failure)?;
    if !insists && existing.iter().any(|machine| !order.knows(rented, &machine.id)) {
        notify("another command has rented a machine for this bucket in the meantime");
        return Ok(None);
    }
    let jobs = Jobs::read(client).await?;
    let waiting = jobs.waiting();
    if waiting.is_empty() {
        notify("no job waits any more");
        return Ok(None);
    }
    let videos = waiting.into_iter().filter_map(|job| job.video.as_ref()?.size_bytes);
    let machine = Wanted {
        name: renter.fleet.new_name(&client.env.unique_id()),
        video_bytes: videos.max().unwrap_or_default(),
    };
    let pod = rent_one(renter, order, machine, env.clone()).await?;
    if !insists && is_one_too_many(renter, order, rented, &pod).await {
        end_again(renter, &pod.id, order.interval).await.map_err(|error| still_runs(error, &pod.id))?;
        notify(
            "another command has rented a machine for this bucket at the same time; this one is ended again",
        );
        return Ok(None);
    }
    Ok(Some(RentedOne::of(&pod, offer)))
}

/// A machine to be rented.
struct Wanted {
    name: String,
    /// Size of the largest video that waits.
    video_bytes: u64,
}

/// Rents one machine, and ends it again if it costs more than was agreed.
async fn rent_one(
    renter: &Renter,
    order: &Order<'_>,
    wanted: Wanted,
    env: BTreeMap<String, String>,
) -> Outcome<Pod> {
    let Order { plan, offer, interval, .. } = order;
    let Wanted { name, video_bytes } = wanted;
    let pod = new_pod(name.clone(), &offer.gpu, plan, env, video_bytes);
    let pod = match renter.fleet.api().create(&pod).await {
        Err(error) if error.may_have_happened() => rented_anyway(renter, &name, error, *interval).await?,
        created => created.map_err(provider_failure)?,
    };
    match pod.price().filter(|price| *price > offer.price_per_hour * ROUNDING) {
        None => Ok(pod),
        Some(price) => {
            let ended = end_again(renter, &pod.id, *interval).await;
            ended.map_err(|error| still_runs(error, &pod.id))?;
            Err(price_rose(offer.price_per_hour, price))
        }
    }
}

/// Whether another command rented a machine at the same time, and this one is to give way: the one that was rented later.
/// If the machines cannot be listed, it stays.
async fn is_one_too_many(renter: &Renter, order: &Order<'_>, rented: &Rented, pod: &Pod) -> bool {
    let Ok((pods, _)) = renter.fleet.api().pods().await else { return false };
    let prefix = renter.fleet.prefix();
    pods.iter().any(|other| {
        let is_rival = other.id != pod.id && other.is_billed() && other.name.starts_with(&prefix);
        is_rival
            && !order.knows(rented, &other.id)
            && (other.created_at, &other.id) < (pod.created_at, &pod.id)
    })
}

/// The machine of a request whose answer was lost, if it was rented.
async fn rented_anyway(
    renter: &Renter,
    name: &str,
    error: ProviderError,
    interval: Duration,
) -> Outcome<Pod> {
    let mut error = error;
    for look in 0..MAX_LOOKS {
        match renter.fleet.api().pods().await {
            Ok((pods, _)) => {
                if let Some(pod) = pods.into_iter().find(|pod| pod.name == name) {
                    return Ok(pod);
                }
            }
            Err(again) => error = again,
        }
        if look + 1 < MAX_LOOKS {
            tokio::time::sleep(interval).await;
        }
    }
    let hint = format!("look for {name} with `courtside machines`, or at https://console.runpod.io/pods");
    Err(provider_failure(error).context(format!("it is not known whether {name} was rented")).hint(hint))
}

/// Ends a machine that was just rented, which RunPod may not show yet.
async fn end_again(renter: &Renter, id: &str, interval: Duration) -> Result<(), ProviderError> {
    let mut looks = 1;
    loop {
        match renter.fleet.api().terminate(id).await {
            Err(error) if error.is_not_found() && looks < MAX_LOOKS => {
                tokio::time::sleep(interval).await;
                looks += 1;
            }
            ended => return ended,
        }
    }
}

fn still_runs(error: ProviderError, id: &str) -> Failure {
    let hint = format!("end it with `courtside machines stop {id}`, or at https://console.runpod.io/pods");
    provider_failure(error).context(format!("{id} is not to be rented, and may still run")).hint(hint)
}

/// The failure for a price above the one that was shown.
pub(crate) fn price_rose(from: f64, to: f64) -> Failure {
    Failure::msg(
        Kind::Failed,
        format!("the price rose from ${from:.2} to ${to:.2} per hour; nothing was rented for it"),
    )
    .hint("run `courtside launch` again to see the present prices")
}

/// A machine that was rented.
#[derive(Debug, Serialize)]
pub(crate) struct RentedOne {
    pub(crate) id: String,
    name: String,
    gpu: String,
    price_per_hour: f64,
}

impl RentedOne {
    fn of(pod: &Pod, offer: &Offer) -> Self {
        let price_per_hour = pod.price().unwrap_or(offer.price_per_hour);
        let gpu = pod.gpu_name().unwrap_or(&offer.gpu).to_owned();
        Self { id: pod.id.clone(), name: pod.name.clone(), gpu, price_per_hour }
    }
}

/// The machines that were rented, and why there are not more.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rented {
    pub(crate) machines: Vec<RentedOne>,
    #[serde(skip)]
    failure: Option<Failure>,
}

impl Rented {
    /// Why there are not more machines, as an error.
    pub(crate) fn result(self) -> Outcome<()> {
        self.failure.map_or(Ok(()), Err)
    }
}

impl fmt::Display for Rented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RentedOne { id, gpu, price_per_hour, .. } in &self.machines {
            writeln!(f, "rented {}: {}, ${price_per_hour:.2} per hour", printable(id), printable(gpu))?;
        }
        Ok(())
    }
}
