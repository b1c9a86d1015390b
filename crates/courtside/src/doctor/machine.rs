//! Rented machines: whether this one can end itself, whether a key of RunPod is valid, whether the image can be pulled, and
//! what workers say about machines that cost money for nothing.

use providers::{ImageCheck, Machine, ProviderOptions, Timeouts, check_image};

use super::{Check, OnCheck};
use crate::rent::{Renter, provider_failure};
use client::Client;
use client::failure::{Failure, Kind};
use client::machine_notices::{describe, machine_notices};
use client::terminal::counted;

const NAME: &str = "machine";

pub(super) async fn check(client: &Client, on_check: OnCheck<'_>) {
    let lookup = |name: &str| std::env::var(name).ok();
    match Machine::detect(&lookup, &ProviderOptions::from_env(&lookup)) {
        Ok(Some(machine)) => on_check(check_this(&machine).await),
        Ok(None) => {}
        Err(error) => on_check(Check::fail(NAME, &provider_failure(error))),
    }
    if let Some(renter) = Renter::if_configured(client) {
        on_check(check_key(&renter).await);
    }
    if let Some(image) = lookup("COURTSIDE_IMAGE").filter(|image| !image.is_empty()) {
        on_check(check_named_image(&image).await);
    }
    for (text, hint) in machine_notices(client).await.iter().map(describe) {
        on_check(Check::warn(NAME, text, hint));
    }
}

/// The machine that this runs on. What a key may do is not told before it does it; one that cannot even describe the
/// machine will not end it.
async fn check_this(machine: &Machine) -> Check {
    let place = format!("{} {}", machine.provider(), machine.id());
    match machine.describe().await {
        Ok(info) => {
            let kind = info.kind.unwrap_or_else(|| "unknown card".to_owned());
            let price =
                info.price_per_hour.map_or("unknown price".to_owned(), |p| format!("${p:.2} per hour"));
            Check::ok(
                NAME,
                format!("{place}: {kind}, {price}; a worker ends it when there is nothing left to do"),
            )
        }
        Err(error) if error.is_transient() => {
            Check::warn(NAME, format!("{place}: {error}"), "try again later")
        }
        Err(error) => {
            let hint = match machine.provider() {
                "RunPod" => {
                    "set RUNPOD_TERMINATE_KEY to a key of yours, so that a worker can end this machine"
                }
                _ => "end this machine yourself when the work is done",
            };
            Check::warn(NAME, format!("{place}: a worker cannot end it: {error}"), hint)
        }
    }
}

async fn check_key(renter: &Renter) -> Check {
    match renter.fleet.machines_and_others().await {
        Ok((machines, n_others)) => {
            let n = machines.len();
            Check::ok(
                "runpod",
                format!(
                    "the key is valid; {} of this bucket, others in the account: {n_others}",
                    counted(n, "machine")
                ),
            )
        }
        Err(error) => Check::fail("runpod", &provider_failure(error)),
    }
}

async fn check_named_image(image: &str) -> Check {
    const HINT: &str = "check its name and tag; for a private image, set COURTSIDE_REGISTRY to the ID of its registry's login at RunPod";
    let has_login = std::env::var_os("COURTSIDE_REGISTRY").is_some_and(|id| !id.is_empty());
    match check_image(image, Timeouts::default()).await {
        ImageCheck::Public => Check::ok("image", format!("{image} can be pulled")),
        ImageCheck::NotPublic if has_login => {
            Check::ok("image", format!("{image} is private, and RunPod has a login for its registry"))
        }
        ImageCheck::NotPublic => Check::fail(
            "image",
            &Failure::msg(Kind::Config, format!("{image} does not exist, or is not public")).hint(HINT),
        ),
        ImageCheck::Invalid(why) => Check::fail("image", &Failure::msg(Kind::Config, why).hint(HINT)),
        ImageCheck::Unknown(why) => {
            Check::warn("image", format!("{image} cannot be checked: {why}"), "try again later")
        }
    }
}
