//! The fields of RunPod's API that are used. Others are ignored, and all but the necessary ones may be missing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

#[derive(Debug, Deserialize)]
pub(super) struct Pods {
    pub(super) pods: Vec<Pod>,
}

/// A rented machine.
#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    /// Id of the pod.
    pub id: String,
    /// Name of the pod.
    pub name: String,
    /// What it is doing.
    pub status: PodStatus,
    /// Its image.
    #[serde(default)]
    pub image: Option<String>,
    /// The arguments of its entrypoint.
    #[serde(default)]
    pub args: Option<String>,
    /// Its cards; `None` if it has none.
    #[serde(default)]
    gpu: Option<PodGpu>,
    /// Dollars per hour at the moment: 0 while it is stopped.
    #[serde(default)]
    cost: Option<f64>,
    /// When it was rented.
    #[serde(rename = "createdAt", with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Clone, Deserialize)]
struct PodGpu {
    id: String,
}

/// What a pod is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PodStatus {
    /// A machine is being allocated.
    Provisioning,
    /// Its container is starting.
    Starting,
    /// Its container runs.
    Running,
    /// It is stopped: only its disk costs something.
    Exited,
    /// Its container cannot be started.
    Error,
    /// It is deleted.
    Terminated,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl PodStatus {
    /// The status in lower case, as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Exited => "stopped",
            Self::Error => "error",
            Self::Terminated => "terminated",
            Self::Unknown => "unknown",
        }
    }
}

impl Pod {
    /// Dollars per hour; `None` if RunPod does not say, or it costs nothing at the moment.
    pub fn price(&self) -> Option<f64> {
        self.cost.filter(|cost| cost.is_finite() && *cost > 0.0)
    }

    /// Its kind of card.
    pub fn gpu_name(&self) -> Option<&str> {
        self.gpu.as_ref().map(|gpu| gpu.id.as_str())
    }

    /// Time since it was rented. `now` is the time at RunPod.
    pub fn age(&self, now: OffsetDateTime) -> Duration {
        (now - self.created_at).try_into().unwrap_or_default()
    }

    /// Whether it may cost money or start to.
    pub fn is_billed(&self) -> bool {
        self.status != PodStatus::Terminated
    }
}

/// A machine to rent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPod {
    /// Its name.
    pub name: String,
    /// Id of its kind of card, from [`GpuType::id`].
    pub gpu: String,
    /// Its image.
    pub image: String,
    /// The arguments of the image's entrypoint.
    pub args: String,
    /// Its environment. Secrets are references.
    pub env: BTreeMap<String, String>,
    /// Size of its disk, in gigabytes.
    pub disk_gb: u64,
    /// Lowest CUDA version that its driver must support, as `major.minor`.
    pub min_cuda: String,
    /// Whether it is rented from RunPod's own data centres, or from other owners.
    pub is_secure: bool,
    /// Id of the account's registry login with which the image is pulled; `None` for a public image.
    pub registry: Option<String>,
}

impl NewPod {
    pub(super) fn body(&self) -> Value {
        let mut body = json!({
            "name": self.name,
            "image": self.image,
            "args": self.args,
            "env": self.env,
            "disk": self.disk_gb,
            "cloud": if self.is_secure { "SECURE" } else { "COMMUNITY" },
            "gpu": { "id": self.gpu, "count": 1, "minCudaVersion": self.min_cuda },
        });
        if let Some(registry) = &self.registry {
            body["registry"] = json!(registry);
        }
        body
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GpuTypes {
    pub(super) gpus: Vec<GpuType>,
}

/// A kind of card.
#[derive(Debug, Clone, Deserialize)]
pub struct GpuType {
    /// Id, such as `NVIDIA GeForce RTX 4090`.
    pub id: String,
    /// Name, such as `RTX 4090`.
    pub name: String,
    /// Its maker: `NVIDIA`, `AMD` or `UNKNOWN`.
    #[serde(default)]
    pub manufacturer: String,
    /// Memory in gigabytes.
    pub memory: u64,
    /// Whether RunPod's own data centres have it.
    #[serde(default)]
    pub secure: bool,
    /// What it costs.
    price: Prices,
    /// How many are free.
    #[serde(default)]
    pub availability: Availability,
}

/// Dollars per hour for one card.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Prices {
    secure: f64,
}

/// How many cards of a kind are free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Availability {
    /// Many.
    High,
    /// Some.
    Medium,
    /// Few.
    Low,
    /// None, or RunPod does not say.
    #[default]
    #[serde(other)]
    None,
}

impl Availability {
    /// The level in lower case, as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl GpuType {
    /// Dollars per hour in RunPod's own data centres; `None` if they do not have it.
    pub fn price(&self) -> Option<f64> {
        Some(self.price.secure).filter(|price| self.secure && price.is_finite() && *price > 0.0)
    }

    /// Whether one can be rented now.
    pub fn is_free(&self) -> bool {
        self.availability != Availability::None
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Secrets {
    pub(super) secrets: Vec<StoredSecret>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StoredSecret {
    pub(super) id: String,
    pub(super) name: String,
}
