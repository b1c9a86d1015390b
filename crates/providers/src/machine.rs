//! The machine that the program runs on, if a provider rents it out.

use std::time::Duration;

use crate::error::{ProviderError, Result};
use crate::key::ApiKey;
use crate::options::{Lookup, ProviderOptions, value};
use crate::runpod::{self, RunPod};
use crate::vast;

/// A rented machine, as its own program sees it.
#[derive(Debug, Clone)]
pub struct Machine(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// The pod, and clients for the keys that may terminate it: the pod's own, then the user's.
    RunPod { id: String, clients: Vec<RunPod> },
    /// The instance; `None` if the machine has no key of its own.
    Vast { id: String, instance: Option<Box<vast::Instance>> },
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is deleted and costs nothing any more.
    Deleted,
    /// It did not exist any more.
    WasGone,
    /// It could not be deleted, but is stopped: its disk still costs something.
    Stopped,
}

/// What a provider says about a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineInfo {
    /// Name of the provider.
    pub provider: &'static str,
    /// Id of the machine at the provider.
    pub id: String,
    /// Name of the machine there.
    pub name: Option<String>,
    /// Its card, such as `NVIDIA H100 80GB HBM3`.
    pub kind: Option<String>,
    /// Dollars per hour.
    pub price_per_hour: Option<f64>,
    /// Time since it was rented, by the provider's clock.
    pub age: Option<Duration>,
}

impl Machine {
    /// Recognizes the machine by the variables that its provider sets: `RUNPOD_POD_ID` with `RUNPOD_API_KEY`, or
    /// `CONTAINER_ID` (or `VAST_CONTAINERLABEL`) with `CONTAINER_API_KEY`. `None` elsewhere.
    ///
    /// # Errors
    /// If an address in `options` is not one.
    pub fn detect(lookup: Lookup<'_>, options: &ProviderOptions) -> Result<Option<Self>> {
        if let Some(id) = value(lookup, "RUNPOD_POD_ID") {
            // Last, because it may be allowed to do more.
            let names = ["RUNPOD_API_KEY", "RUNPOD_TERMINATE_KEY"];
            let keys = names.into_iter().filter_map(|name| ApiKey::new(value(lookup, name)?));
            let clients = keys.map(|key| RunPod::new(key, options)).collect::<Result<_>>()?;
            return Ok(Some(Self(Kind::RunPod { id, clients })));
        }
        let label = || value(lookup, "VAST_CONTAINERLABEL")?.strip_prefix("C.").map(str::to_owned);
        let key = value(lookup, "CONTAINER_API_KEY").and_then(ApiKey::new);
        let is_vast = key.is_some() || value(lookup, "VAST_CONTAINERLABEL").is_some();
        let id = value(lookup, "CONTAINER_ID").or_else(label).filter(|_| is_vast);
        let Some(id) = id else { return Ok(None) };
        let instance =
            key.map(|key| vast::Instance::new(id.clone(), key, options)).transpose()?.map(Box::new);
        Ok(Some(Self(Kind::Vast { id, instance })))
    }

    /// Name of the provider.
    pub fn provider(&self) -> &'static str {
        match &self.0 {
            Kind::RunPod { .. } => runpod::NAME,
            Kind::Vast { .. } => vast::NAME,
        }
    }

    /// Id of the machine at the provider.
    pub fn id(&self) -> &str {
        match &self.0 {
            Kind::RunPod { id, .. } | Kind::Vast { id, .. } => id,
        }
    }

    /// Where the user can end the machine by hand.
    pub fn console(&self) -> &'static str {
        match &self.0 {
            Kind::RunPod { .. } => "https://console.runpod.io/pods",
            Kind::Vast { .. } => "https://cloud.vast.ai/instances/",
        }
    }

    /// What the provider says about the machine, asked with the first key that it accepts.
    ///
    /// # Errors
    /// If there is no key, or the provider accepts none or does not answer.
    pub async fn describe(&self) -> Result<MachineInfo> {
        match &self.0 {
            Kind::RunPod { id, clients } => {
                let mut refused = self.no_key("describe");
                for client in clients {
                    match client.describe(id).await {
                        Err(error) if needs_another_key(&error) => refused = error,
                        other => return other,
                    }
                }
                Err(refused)
            }
            Kind::Vast { instance: Some(instance), .. } => instance.describe().await,
            Kind::Vast { instance: None, .. } => Err(self.no_key("describe")),
        }
    }

    /// Deletes the machine, and returns once the provider has confirmed it. A request that gets no answer is repeated for a
    /// minute or two.
    ///
    /// # Errors
    /// If the provider refuses or does not answer: the machine then still costs money.
    pub async fn terminate(&self) -> Result<Ended> {
        match &self.0 {
            Kind::RunPod { id, clients } => self.terminate_pod(id, clients).await,
            Kind::Vast { instance: Some(instance), .. } => destroy_or_stop(instance).await,
            Kind::Vast { instance: None, .. } => Err(self.no_key("destroy")),
        }
    }

    /// Asks with each key in turn. To a key that may not see the pod, the pod does not exist, so only if no key was refused
    /// the pod is gone.
    async fn terminate_pod(&self, id: &str, clients: &[RunPod]) -> Result<Ended> {
        let (mut refused, mut was_gone) = (None, false);
        for client in clients {
            match client.terminate(id).await {
                Ok(()) => return Ok(Ended::Deleted),
                Err(error) if error.is_not_found() => was_gone = true,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error),
            None if was_gone => Ok(Ended::WasGone),
            None => Err(self.no_key("terminate")),
        }
    }

    fn no_key(&self, verb: &str) -> ProviderError {
        let name = match &self.0 {
            Kind::RunPod { .. } => "RUNPOD_API_KEY",
            Kind::Vast { .. } => "CONTAINER_API_KEY",
        };
        ProviderError::Unauthorised {
            provider: self.provider(),
            action: format!("{verb} machine {}", self.id()),
            detail: format!("{name} is not set here, or is not a key"),
        }
    }
}

fn needs_another_key(error: &ProviderError) -> bool {
    error.is_unauthorised() || error.is_not_found()
}

/// Destroys an instance, or if that is refused, stops it.
async fn destroy_or_stop(instance: &vast::Instance) -> Result<Ended> {
    match instance.destroy().await {
        Ok(()) => Ok(Ended::Deleted),
        Err(error) if error.is_not_found() => Ok(Ended::WasGone),
        Err(refused) => match instance.stop().await {
            Ok(()) => Ok(Ended::Stopped),
            Err(error) if error.is_not_found() => Ok(Ended::WasGone),
            Err(_) => Err(refused),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(variables: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let machine = Machine::detect(&lookup, &ProviderOptions::default()).unwrap();
        machine.map(|machine| (machine.provider(), machine.id().to_owned()))
    }

    #[test]
    fn a_machine_is_recognized_by_the_variables_of_its_provider() {
        assert_eq!(detect(&[]), None);
        // A user's key on a laptop makes no machine of it.
        assert_eq!(detect(&[("RUNPOD_API_KEY", "k")]), None);
        // Other container runtimes set this one.
        assert_eq!(detect(&[("CONTAINER_ID", "1")]), None);
        let runpod = Some(("RunPod", "p1".to_owned()));
        assert_eq!(detect(&[("RUNPOD_POD_ID", "p1"), ("RUNPOD_API_KEY", "k")]), runpod);
        assert_eq!(detect(&[("RUNPOD_POD_ID", " p1\n")]), runpod);
        let vast = Some(("Vast", "42".to_owned()));
        assert_eq!(detect(&[("CONTAINER_ID", "42"), ("CONTAINER_API_KEY", "k")]), vast);
        assert_eq!(detect(&[("VAST_CONTAINERLABEL", "C.42"), ("CONTAINER_API_KEY", "k")]), vast);
        assert_eq!(detect(&[("VAST_CONTAINERLABEL", "C.42")]), vast);
    }
}
