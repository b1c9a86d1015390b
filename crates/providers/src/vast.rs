//! Vast's API, version 0, as far as a machine needs it to end itself.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ProviderError, Result};
use crate::http::{Call, Http, message, shortened};
use crate::key::ApiKey;
use crate::machine::MachineInfo;
use crate::options::ProviderOptions;

/// Name of the provider in messages and records.
pub(crate) const NAME: &str = "Vast";

/// One rented instance, with the key that it has for itself.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    http: Http,
    key: ApiKey,
    pub(crate) id: String,
}

/// The fields of `GET /api/v0/instances/{id}/` that are used.
#[derive(Debug, Deserialize)]
struct Shown {
    instances: Facts,
}

#[derive(Debug, Deserialize)]
struct Facts {
    #[serde(default)]
    gpu_name: Option<String>,
    #[serde(default)]
    dph_total: Option<f64>,
    #[serde(default)]
    label: Option<String>,
}

impl Instance {
    pub(crate) fn new(id: String, key: ApiKey, options: &ProviderOptions) -> Result<Self> {
        Ok(Self { http: Http::new(NAME, &options.vast_url, options)?, key, id })
    }

    /// What Vast says about the instance.
    pub(crate) async fn describe(&self) -> Result<MachineInfo> {
        let call = self.call("describe", Method::GET);
        let answer = self.http.send(&self.key, &call).await?;
        let shown: Shown =
            serde_json::from_value(answer.body).map_err(|e| self.http.unreadable(&call, e.to_string()))?;
        Ok(MachineInfo {
            provider: NAME,
            id: self.id.clone(),
            name: shown.instances.label,
            kind: shown.instances.gpu_name,
            price_per_hour: shown.instances.dph_total.filter(|price| price.is_finite() && *price > 0.0),
            age: None,
        })
    }

    /// Deletes the instance and its disk.
    pub(crate) async fn destroy(&self) -> Result<()> {
        let call = self.call("destroy", Method::DELETE);
        let answer = self.http.send(&self.key, &call).await?;
        self.confirmed(&call, &answer.body)
    }

    /// Stops the instance, which then costs its disk only.
    pub(crate) async fn stop(&self) -> Result<()> {
        let call = self.call("stop", Method::PUT).body(json!({ "state": "stopped" }));
        let answer = self.http.send(&self.key, &call).await?;
        self.confirmed(&call, &answer.body)
    }

    fn call(&self, verb: &str, method: Method) -> Call<'_> {
        // With a slash at the end, as Vast documents it.
        Call::new(format!("{verb} instance {}", self.id), method, &["api", "v0", "instances", &self.id, ""])
    }

    /// A status of success may come with `"success": false`.
    fn confirmed(&self, call: &Call<'_>, body: &Value) -> Result<()> {
        if body.get("success") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        let detail = message(body).map_or_else(
            || "it does not confirm it".to_owned(),
            |text| shortened(&self.key.removed_from(text)),
        );
        Err(ProviderError::Refused { provider: NAME, action: call.action.clone(), detail })
    }
}
