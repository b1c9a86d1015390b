//! RunPod's REST API, version 2: machines ("pods"), the catalogue of cards, and secrets.

mod types;

use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::json;
use time::OffsetDateTime;

use crate::error::Result;
use crate::http::{Answer, Call, Http};
use crate::key::ApiKey;
use crate::machine::MachineInfo;
use crate::options::ProviderOptions;

pub use types::{Availability, GpuType, NewPod, Pod, PodStatus};
use types::{GpuTypes, Pods, Secrets};

/// Name of the provider in messages and records.
pub(crate) const NAME: &str = "RunPod";

/// Tries to store a secret, besides those of each request.
const MAX_STORE_TRIES: u64 = 4;

/// RunPod's API with one key.
#[derive(Debug, Clone)]
pub struct RunPod {
    http: Http,
    key: ApiKey,
    options: ProviderOptions,
}

impl RunPod {
    /// Creates a client. Sends no request.
    ///
    /// # Errors
    /// If the address in `options` is not one.
    pub fn new(key: ApiKey, options: &ProviderOptions) -> Result<Self> {
        Ok(Self { http: Http::new(NAME, &options.runpod_url, options)?, key, options: options.clone() })
    }

    /// How it is reached.
    pub fn options(&self) -> &ProviderOptions {
        &self.options
    }

    /// A pod.
    ///
    /// # Errors
    /// [`NotFound`](crate::ProviderError::NotFound) also if the key may not see it.
    pub async fn pod(&self, id: &str) -> Result<Pod> {
        Ok(self.pod_at(id).await?.0)
    }

    async fn pod_at(&self, id: &str) -> Result<(Pod, OffsetDateTime)> {
        let call = Call::new(format!("describe pod {id}"), Method::GET, &["v2", "pods", id]);
        let answer = self.http.send(&self.key, &call).await?;
        let now = self.now(&answer);
        Ok((self.parsed(&call, answer)?, now))
    }

    /// What RunPod says about a pod.
    pub(crate) async fn describe(&self, id: &str) -> Result<MachineInfo> {
        let (pod, now) = self.pod_at(id).await?;
        Ok(MachineInfo {
            provider: NAME,
            id: pod.id.clone(),
            name: Some(pod.name.clone()),
            kind: pod.gpu_name().map(str::to_owned),
            price_per_hour: pod.price(),
            age: Some(pod.age(now)),
        })
    }

    /// All pods of the account, and the time at RunPod.
    pub async fn pods(&self) -> Result<(Vec<Pod>, OffsetDateTime)> {
        let call = Call::new("list the machines", Method::GET, &["v2", "pods"]);
        let answer = self.http.send(&self.key, &call).await?;
        let now = self.now(&answer);
        let pods: Pods = self.parsed(&call, answer)?;
        Ok((pods.pods, now))
    }

    /// Rents a pod. Sent once only: a repetition after a lost answer could rent a second one.
    pub async fn create(&self, pod: &NewPod) -> Result<Pod> {
        let call = Call::new(format!("rent a {}", pod.gpu), Method::POST, &["v2", "pods"]).body(pod.body());
        let answer = self.http.send_once(&self.key, &call).await?;
        self.parsed(&call, answer)
    }

    /// Deletes a pod, which then costs nothing any more.
    ///
    /// # Errors
    /// [`NotFound`](crate::ProviderError::NotFound) if it is gone already, or the key may not see it.
    pub async fn terminate(&self, id: &str) -> Result<()> {
        let call = Call::new(format!("terminate pod {id}"), Method::DELETE, &["v2", "pods", id]);
        self.http.send(&self.key, &call).await.map(drop)
    }

    /// The kinds of cards, with price, and with what is free for pods.
    pub async fn gpus(&self) -> Result<Vec<GpuType>> {
        let call = Call::new("list the cards", Method::GET, &["v2", "catalog", "gpus"])
            .query(&[("include", "AVAILABILITY"), ("product", "POD")]);
        let answer = self.http.send(&self.key, &call).await?;
        Ok(self.parsed::<GpuTypes>(&call, answer)?.gpus)
    }

    /// Stores a secret under a name, or replaces its value. Pods refer to it as `{{ RUNPOD_SECRET_name }}`. No error contains
    /// the value.
    pub async fn store_secret(&self, name: &str, value: &str) -> Result<()> {
        let action = format!("store the secret {name}");
        let path = ["v2", "account", "secrets"];
        let mut tries = 1;
        loop {
            let stored = match self.secret_id(name).await? {
                Some(id) => {
                    let replace = Call::new(&*action, Method::PATCH, &[path[0], path[1], path[2], &id]);
                    self.http.send(&self.key, &replace.body(json!({ "value": value }))).await
                }
                None => {
                    let body = json!({ "name": name, "value": value });
                    let create = Call::new(&*action, Method::POST, &path).body(body);
                    self.http.send_once(&self.key, &create).await
                }
            };
            match stored {
                // The answer was lost, or another laptop stores it at this moment: then its value is replaced.
                Err(error) if error.is_transient() && tries < MAX_STORE_TRIES => {
                    self.options.clock.sleep(Duration::from_secs(tries) / self.options.pace.max(1)).await;
                    tries += 1;
                }
                stored => return stored.map(drop).map_err(|error| error.without(value)),
            }
        }
    }

    async fn secret_id(&self, name: &str) -> Result<Option<String>> {
        let list = Call::new("list the secrets", Method::GET, &["v2", "account", "secrets"]);
        let answer = self.http.send(&self.key, &list).await?;
        let known: Secrets = self.parsed(&list, answer)?;
        Ok(known.secrets.into_iter().find(|secret| secret.name == name).map(|secret| secret.id))
    }

    fn parsed<T: DeserializeOwned>(&self, call: &Call<'_>, answer: Answer) -> Result<T> {
        serde_json::from_value(answer.body).map_err(|e| self.http.unreadable(call, e.to_string()))
    }

    fn now(&self, answer: &Answer) -> OffsetDateTime {
        answer.server_time.unwrap_or_else(|| self.options.clock.utc())
    }
}
