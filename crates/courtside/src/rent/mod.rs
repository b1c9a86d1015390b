//! Renting machines at RunPod for the jobs of a bucket: what waits, what that would cost, and the machines that exist.

pub(crate) mod create;
mod failure;
pub(crate) mod follow;
pub(crate) mod plan;
mod pod;

use std::time::Duration;

use jobs::Timing;
use jobs::bucket::{BucketLocation, S3Settings};
use jobs::catalog::{Catalog, CatalogEntry};
use jobs::manifest::{Manifest, Status, Target};
use providers::{ApiKey, Fleet, ProviderOptions, RunPod, is_private_address};

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::progress::clock;
use client::terminal::notify;

pub(crate) use failure::provider_failure;
pub(crate) use pod::{new_pod, store_settings};

/// The rented machines of the bucket, with what is needed to rent more.
pub(crate) struct Renter {
    pub(crate) fleet: Fleet,
    pub(crate) bucket: S3Settings,
}

impl Renter {
    /// Reads the key and the bucket from the settings.
    ///
    /// # Errors
    /// Without a key, and for a bucket that is a folder: a rented machine cannot see it.
    pub(crate) fn new(client: &Client) -> Outcome<Self> {
        let BucketLocation::S3(bucket) = client.settings.cloud.clone() else {
            let message = "the bucket is a folder on this machine, which a rented machine cannot see";
            return Err(Failure::msg(Kind::Config, message).hint(
                "set R2_ACCOUNT_ID, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, and submit the videos again",
            ));
        };
        let lookup = |name: &str| std::env::var(name).ok();
        let key = lookup("RUNPOD_API_KEY").filter(|key| !key.is_empty()).ok_or_else(|| {
            Failure::msg(Kind::Config, "RUNPOD_API_KEY is not set").hint(
                "create a key at https://console.runpod.io/user/settings and set it in the environment or in .env",
            )
        })?;
        let key = ApiKey::new(key).ok_or_else(|| {
            Failure::msg(Kind::Config, "RUNPOD_API_KEY is not a key: it has blanks or unusual characters")
                .hint("copy it again from https://console.runpod.io/user/settings")
        })?;
        let api = RunPod::new(key, &ProviderOptions::from_env(&lookup)).map_err(provider_failure)?;
        let fleet = Fleet::new(api, &format!("{}/{}", bucket.endpoint, bucket.bucket));
        Ok(Self { fleet, bucket })
    }

    /// Checks that a rented machine can reach the bucket.
    ///
    /// # Errors
    /// If the bucket's address is one of this machine or of its network.
    pub(crate) fn check_reachable(&self) -> Outcome<()> {
        let endpoint = &self.bucket.endpoint;
        // A stand-in for RunPod may be in the same network.
        if !is_private_address(endpoint) || is_private_address(&self.fleet.api().options().runpod_url) {
            return Ok(());
        }
        let message = format!("a machine at RunPod cannot reach the bucket at {endpoint}");
        Err(Failure::msg(Kind::Config, message)
            .hint("use a bucket with a public address, such as one of Cloudflare R2 (R2_ACCOUNT_ID)"))
    }

    /// The same, if a key and a bucket on a server are set, and this is not itself a rented machine.
    pub(crate) fn if_configured(client: &Client) -> Option<Self> {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_usable =
            client.settings.cloud.is_remote() && is_set("RUNPOD_API_KEY") && !is_set("RUNPOD_POD_ID");
        is_usable.then(|| Self::new(client).ok()).flatten()
    }

    /// Ends the machines that have outlived their `--max-runtime`, and says so. Returns the others.
    pub(crate) async fn reap(&self, machines: Vec<providers::Rented>) -> Vec<providers::Rented> {
        let reaped = self.fleet.reap(&machines).await;
        let mut ended = Vec::new();
        for (machine, error) in reaped {
            let age = clock(Duration::from_secs_f64(machine.age_seconds.clamp(0.0, 1e9)));
            match error {
                None => {
                    notify(format!("ended {}: it has outlived its --max-runtime ({age} old)", machine.name));
                    ended.push(machine.id.clone());
                }
                Some(error) => {
                    let failure = provider_failure(error);
                    notify(format!("WARNING: {} has outlived its --max-runtime: {failure}", machine.name));
                }
            }
        }
        machines.into_iter().filter(|machine| !ended.contains(&machine.id)).collect()
    }
}

/// Whether a job's worker has been silent for longer than its lease.
fn is_abandoned(seen: &CatalogEntry) -> bool {
    is_silent(&seen.manifest, seen.age)
}

/// Whether nothing was heard of the job's worker for longer than its lease. `age`: since the manifest was written.
fn is_silent(manifest: &Manifest, age: Duration) -> bool {
    let timing = Timing::default();
    let lease = if manifest.is_foreign() { timing.foreign_lease } else { timing.lease };
    manifest.status == Status::Processing && age > lease
}

/// The jobs of the bucket that a cloud worker could do, by state.
pub(crate) struct Jobs {
    pub(crate) catalog: Catalog,
}

impl Jobs {
    pub(crate) async fn read(client: &Client) -> Outcome<Self> {
        let mut catalog = Catalog::new(client.bucket(Target::Cloud)?, client.env.clone());
        catalog.refresh().await?;
        Ok(Self { catalog })
    }

    /// Those that wait for a worker, also because theirs has died.
    pub(crate) fn waiting(&self) -> Vec<&Manifest> {
        self.select(|seen| seen.manifest.status == Status::Pending || is_abandoned(seen))
    }

    /// Those that a worker tracks.
    pub(crate) fn processing(&self) -> Vec<&Manifest> {
        self.select(|seen| seen.manifest.status == Status::Processing && !is_abandoned(seen))
    }

    /// Those whose results wait to be imported.
    pub(crate) fn completed(&self) -> Vec<&Manifest> {
        self.select(|seen| seen.manifest.status == Status::Completed)
    }

    fn select(&self, is_one: impl Fn(&CatalogEntry) -> bool) -> Vec<&Manifest> {
        self.catalog.jobs().filter(|seen| is_one(seen)).map(|seen| &seen.manifest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_of_a_dead_worker_waits_for_another_one() {
        let manifest = |status: &str, claim: serde_json::Value| -> Manifest {
            let text = serde_json::json!({
                "job_id": "j", "video_id": 1, "status": status, "created_at": "2026-01-02T03:04:05Z", "parameters": {},
                "claim": claim,
            });
            Manifest::parse("jobs/j.json", &serde_json::to_vec(&text).unwrap()).unwrap()
        };
        let claim = serde_json::json!({ "id": "c", "worker_id": "w", "claimed_at": "2026-01-02T03:04:05Z" });
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (manifest, age, is_dead) in [
            (manifest("processing", claim.clone()), minutes(2), false),
            (manifest("processing", claim.clone()), minutes(4), true),
            // A worker that does not use leases.
            (manifest("processing", serde_json::Value::Null), minutes(4), false),
            (manifest("processing", serde_json::Value::Null), minutes(31), true),
            (manifest("completed", claim), minutes(99), false),
        ] {
            assert_eq!(is_silent(&manifest, age), is_dead, "{age:?}");
        }
    }
}
