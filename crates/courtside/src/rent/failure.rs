//! Errors of the provider as failures of a command, with what to do about them.

use providers::ProviderError;

use client::failure::{Failure, Kind};

/// An error of RunPod, with a hint.
pub(crate) fn provider_failure(error: ProviderError) -> Failure {
    use ProviderError as E;
    let (kind, hint) = match &error {
        E::Unauthorised { .. } => (
            Kind::Config,
            "set RUNPOD_API_KEY to a key with the permissions to read and write pods and secrets \
             (https://console.runpod.io/user/settings)",
        ),
        E::NoCredit { .. } => {
            (Kind::Failed, "add credit at https://console.runpod.io/user/billing, and run it again")
        }
        E::NotFound { .. } => (Kind::Failed, "run `courtside machines` to list the machines"),
        E::Unavailable { .. } => {
            (Kind::Remote, "try again later; `courtside machines` shows whether a machine was rented")
        }
        E::Conflict { .. } => (Kind::Failed, "try again in a minute, or use https://console.runpod.io/pods"),
        E::Refused { .. } => {
            (Kind::Failed, "run `courtside launch --dry-run` to see the cards that are free")
        }
        E::Unreadable { .. } => (Kind::Remote, "check RUNPOD_API_URL, try again later, or update courtside"),
    };
    Failure::new(kind, error).hint(hint)
}
