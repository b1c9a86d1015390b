//! Renting the machines of a plan, one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use providers::{Pod, ProviderError};
use serde::Serialize;

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::{notify, printable};

use super::plan::{Offer, Plan};
use super::{Jobs, Limits, Renter, new_pod, provider_failure, store_settings};

/// A price that is at most this much higher than the one that was shown is the same one, rounded.
pub(crate) const ROUNDING: f64 = 1.001;

/// Rents the machines of a plan. Stops where another command has rented machines meanwhile, unless the user `insists` on
/// their number. An error after the first machine is part of the result.
pub(crate) async fn rent(
    client: &Client,
    renter: &Renter,
    plan: &Plan,
    offer: &Offer,
    insists: bool,
) -> Outcome<Rented> {
    let env = store_settings(renter).await.map_err(provider_failure)?;
    let mut rented = Rented::default();
    while rented.machines.len() < plan.n_machines {
        let n_existing = renter.fleet.machines().await.map_err(provider_failure)?.len();
        if !insists && n_existing > plan.n_existing + rented.machines.len() {
            notify("another command has rented a machine for this bucket in the meantime");
            break;
        }
        match rent_one(client, renter, plan, offer, env.clone()).await {
            Ok(pod) => rented.machines.push(RentedOne::of(&pod, offer)),
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

/// Rents one machine, and ends it again if it costs more than was agreed.
async fn rent_one(
    client: &Client,
    renter: &Renter,
    plan: &Plan,
    offer: &Offer,
    env: BTreeMap<String, String>,
) -> Outcome<Pod> {
    let limits = Limits {
        max_runtime: Duration::from_secs(plan.max_runtime_seconds),
        idle_exit: Duration::from_secs(plan.idle_exit_seconds),
    };
    let name = renter.fleet.new_name(&client.env.unique_id());
    let jobs = Jobs::read(client).await?;
    let videos = jobs.waiting().into_iter().filter_map(|job| job.video.as_ref()?.size_bytes);
    let video_bytes = videos.max().unwrap_or_default();
    let pod = new_pod(name.clone(), &offer.gpu, &plan.image, env, limits, video_bytes);
    let pod = match renter.fleet.api().create(&pod).await {
        Err(error) if error.is_transient() => rented_anyway(renter, &name, error).await?,
        created => created.map_err(provider_failure)?,
    };
    match pod.price().filter(|price| *price > offer.price_per_hour * ROUNDING) {
        None => Ok(pod),
        Some(price) => {
            renter.fleet.stop(&pod.id).await.map_err(|error| {
                provider_failure(error).context(format!("{} costs more than agreed, and still runs", pod.id))
            })?;
            Err(price_rose(offer.price_per_hour, price))
        }
    }
}

/// The machine of a request whose answer was lost, if it was rented.
async fn rented_anyway(renter: &Renter, name: &str, error: ProviderError) -> Outcome<Pod> {
    let (pods, _) = renter.fleet.api().pods().await.map_err(|again| {
        let hint = format!("look for {name} with `courtside machines`, or at https://console.runpod.io/pods");
        provider_failure(again).context("it is unknown whether a machine was rented").hint(hint)
    })?;
    pods.into_iter().find(|pod| pod.name == name).ok_or_else(|| provider_failure(error))
}

/// The failure for a price above the one that was shown.
pub(crate) fn price_rose(from: f64, to: f64) -> Failure {
    Failure::msg(
        Kind::Failed,
        format!("the price rose from ${from:.2} to ${to:.2} per hour; nothing was rented"),
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
