//! A machine to rent: its image, its arguments, and the settings of the bucket, which it gets as secrets.

use std::collections::BTreeMap;

use providers::{NewPod, ProviderError};

use super::Renter;
use super::plan::Plan;

/// Lowest CUDA version of the driver: that of the images' kernels.
const MIN_CUDA: &str = "12.4";
/// What a machine needs on its disk besides videos, in gigabytes: the image, and checkpoints.
const DISK_GB: u64 = 20;

/// Stores what a worker needs to reach the bucket as secrets of the account. Returns the environment of the machines, which
/// refers to them.
///
/// # Errors
/// If the provider refuses. No error contains a value.
pub(crate) async fn store_settings(renter: &Renter) -> Result<BTreeMap<String, String>, ProviderError> {
    let bucket = &renter.bucket;
    let mut secrets = vec![
        ("R2_ENDPOINT_URL", bucket.endpoint.clone()),
        ("R2_ACCESS_KEY_ID", bucket.access_key_id.clone()),
        ("R2_SECRET_ACCESS_KEY", bucket.secret_access_key.reveal().to_owned()),
    ];
    // The token is for an image without a model.
    for name in ["RUNPOD_TERMINATE_KEY", "HF_TOKEN"] {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty());
        secrets.extend(value.map(|value| (name, value)));
    }
    let mut env = BTreeMap::from([
        ("R2_BUCKET_NAME".to_owned(), bucket.bucket.clone()),
        ("R2_REGION".to_owned(), bucket.region.clone()),
    ]);
    for (setting, value) in secrets {
        let name = renter.fleet.secret_name(setting);
        renter.fleet.api().store_secret(&name, &value).await?;
        env.insert(setting.to_owned(), format!("{{{{ RUNPOD_SECRET_{name} }}}}"));
    }
    Ok(env)
}

/// A machine with this card. `video_bytes`: of the largest video that waits.
pub(crate) fn new_pod(
    name: String,
    gpu: &str,
    plan: &Plan,
    env: BTreeMap<String, String>,
    video_bytes: u64,
) -> NewPod {
    let Plan { image, registry, max_runtime_seconds, idle_exit_seconds, .. } = plan;
    let args = format!(
        "worker --cloud --max-runtime {max_runtime_seconds} --idle-exit {idle_exit_seconds} --when-done terminate"
    );
    // The video, and as much again for what is made of it.
    let disk_gb = DISK_GB + 2 * video_bytes.div_ceil(1_000_000_000);
    NewPod {
        name,
        gpu: gpu.to_owned(),
        image: image.clone(),
        args,
        env,
        disk_gb,
        min_cuda: MIN_CUDA.to_owned(),
        is_secure: true,
        registry: registry.clone(),
    }
}
