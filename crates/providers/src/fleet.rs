//! The machines that were rented for one queue of jobs, by any laptop: they are recognized by the beginning of their names.
//! No other machine of the account is ever touched.

use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::error::{ProviderError, Result};
use crate::runpod::{self, Pod, PodStatus, RunPod};

/// How the names of all machines begin that this program rents.
pub const LAUNCHED: &str = "courtside-";
/// How long a machine may exist after its `--max-runtime`: its program needs some of it to start and to end.
const GRACE: Duration = Duration::from_secs(15 * 60);

/// The rented machines of one queue.
#[derive(Debug, Clone)]
pub struct Fleet {
    api: RunPod,
    hash: String,
}

/// A rented machine, as its renter sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rented {
    /// Id at the provider.
    pub id: String,
    /// Name, which begins as those of its queue do.
    pub name: String,
    /// What it is doing.
    pub status: PodStatus,
    /// Its card.
    pub gpu: Option<String>,
    /// Dollars per hour at the moment.
    pub price_per_hour: Option<f64>,
    /// Seconds since it was rented, by the provider's clock.
    pub age_seconds: f64,
    /// Seconds after which its program ends; `None` if it was started without a limit.
    pub max_runtime_seconds: Option<u64>,
}

/// What happened to a machine that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Deleted,
    /// It is gone already, was never there, or the key may not see it.
    NotFound,
}

impl Rented {
    fn of(pod: &Pod, now: OffsetDateTime) -> Self {
        Self {
            id: pod.id.clone(),
            name: pod.name.clone(),
            status: pod.status,
            gpu: pod.gpu_name().map(str::to_owned),
            price_per_hour: pod.price(),
            age_seconds: pod.age(now).as_secs_f64(),
            max_runtime_seconds: pod.args.as_deref().and_then(max_runtime),
        }
    }

    /// Dollars so far, at the present price.
    pub fn cost_dollars(&self) -> Option<f64> {
        self.price_per_hour.map(|price| price * self.age_seconds / 3600.0)
    }

    /// Whether it exists longer than its program may run: the program did not end it.
    pub fn is_overdue(&self) -> bool {
        self.max_runtime_seconds.is_some_and(|limit| self.age_seconds > limit as f64 + GRACE.as_secs_f64())
    }
}

/// The value of `--max-runtime` in the arguments of a machine.
fn max_runtime(args: &str) -> Option<u64> {
    let mut words = args.split_whitespace();
    words.find(|word| *word == "--max-runtime")?;
    words.next()?.parse().ok()
}

impl Fleet {
    /// The machines of the queue that `queue` identifies, such as the address and the name of a bucket.
    pub fn new(api: RunPod, queue: &str) -> Self {
        let digest = Sha256::digest(queue.as_bytes());
        let hash = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { api, hash }
    }

    /// The API that it uses.
    pub fn api(&self) -> &RunPod {
        &self.api
    }

    /// How the names of its machines begin.
    pub fn prefix(&self) -> String {
        format!("{LAUNCHED}{}-", self.hash)
    }

    /// The name of a new machine. `unique` is random.
    pub fn new_name(&self, unique: &str) -> String {
        format!("{}{}", self.prefix(), unique.get(..8).unwrap_or(unique))
    }

    /// The name of the account's secret that holds a setting for its machines.
    pub fn secret_name(&self, setting: &str) -> String {
        format!("courtside_{}_{setting}", self.hash)
    }

    /// Its machines, the oldest first, without those that are deleted.
    pub async fn machines(&self) -> Result<Vec<Rented>> {
        Ok(self.machines_and_others().await?.0)
    }

    /// Its machines, and the number of other machines in the account.
    pub async fn machines_and_others(&self) -> Result<(Vec<Rented>, usize)> {
        let (pods, now) = self.api.pods().await?;
        let prefix = self.prefix();
        let (own, others): (Vec<&Pod>, Vec<&Pod>) =
            pods.iter().filter(|pod| pod.is_billed()).partition(|pod| pod.name.starts_with(&prefix));
        let mut own: Vec<Rented> = own.into_iter().map(|pod| Rented::of(pod, now)).collect();
        own.sort_by(|a, b| b.age_seconds.total_cmp(&a.age_seconds));
        Ok((own, others.len()))
    }

    /// Deletes one of its machines.
    ///
    /// # Errors
    /// Also if the machine is not one of them: it is then left alone.
    pub async fn stop(&self, id: &str) -> Result<Deletion> {
        let pod = match self.api.pod(id).await {
            Err(error) if error.is_not_found() => return Ok(Deletion::NotFound),
            pod => pod?,
        };
        if !pod.name.starts_with(&self.prefix()) {
            return Err(ProviderError::Refused {
                provider: runpod::NAME,
                action: format!("let courtside end {id}"),
                detail: format!("its name {:?} does not begin with {}", pod.name, self.prefix()),
            });
        }
        match self.api.terminate(id).await {
            Err(error) if error.is_not_found() => Ok(Deletion::NotFound),
            done => done.map(|()| Deletion::Deleted),
        }
    }

    /// Deletes those of `machines` that are overdue. Returns them, each with the error if there was one.
    pub async fn reap<'a>(&self, machines: &'a [Rented]) -> Vec<(&'a Rented, Option<ProviderError>)> {
        let mut reaped = Vec::new();
        for machine in machines.iter().filter(|machine| machine.is_overdue()) {
            reaped.push((machine, self.stop(&machine.id).await.err()));
        }
        reaped
    }
}

/// How many machines to start: as many as the user says, otherwise one, if fewer exist than jobs wait.
pub fn machines_to_start(count: Option<usize>, n_waiting: usize, n_existing: usize) -> usize {
    count.unwrap_or_else(|| n_waiting.saturating_sub(n_existing).min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_a_machine_is_read_from_its_arguments() {
        assert_eq!(max_runtime("worker --cloud --max-runtime 21600 --idle-exit 300"), Some(21_600));
        assert_eq!(max_runtime("worker --cloud --max-runtime"), None);
        assert_eq!(max_runtime("worker --cloud"), None);
    }

    #[test]
    fn no_more_machines_than_waiting_jobs_unless_the_user_says_so() {
        assert_eq!(machines_to_start(None, 3, 0), 1);
        assert_eq!(machines_to_start(None, 3, 2), 1);
        assert_eq!(machines_to_start(None, 1, 1), 0);
        assert_eq!(machines_to_start(None, 0, 0), 0);
        assert_eq!(machines_to_start(Some(4), 1, 1), 4);
    }
}
