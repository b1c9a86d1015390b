//! What workers say about their machines: that one cannot be ended, and costs money for nothing; or that it was ended
//! because it could not work.
//!
//! A notice is a small object under `workers/`, which its worker repeats while it is true. Nothing else depends on it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Condition};
use crate::env::Env;
use crate::error::Result;
use crate::keys::WORKERS;
use crate::manifest::{RentedMachine, Timestamp};
use crate::quote::bounded;

/// Time between two repetitions of a notice.
pub const REPEAT_AFTER: Duration = Duration::from_secs(600);
/// Age at which it is no longer believed that a machine runs for nothing: its worker has ended.
pub const FORGET_AFTER: Duration = Duration::from_secs(3 * 600);
/// Age at which a notice about a machine that has ended is no news.
const FORGET_ENDED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Largest notice that is read.
const MAX_BYTES: u64 = 16 << 10;
/// Most notices that are read.
const MAX_NOTICES: usize = 20;

/// What a notice says of its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// It runs for nothing, and cannot be ended.
    #[default]
    Running,
    /// It could only be stopped: its disk still costs something.
    Stopped,
    /// It was ended because it could not work.
    Ended,
}

/// What a worker says about its machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineNotice {
    /// Name of the worker on it.
    pub worker_id: String,
    /// The machine.
    pub machine: RentedMachine,
    /// What happened to it.
    #[serde(default)]
    pub state: MachineState,
    /// Why it cannot be ended, or could not work.
    pub message: String,
    /// What the user can do.
    pub hint: String,
    /// When the worker wrote this, by its own clock.
    pub updated_at: Timestamp,
}

impl MachineNotice {
    /// A notice of this moment.
    pub fn new(
        worker_id: &str,
        machine: RentedMachine,
        state: MachineState,
        message: &str,
        hint: &str,
        env: &dyn Env,
    ) -> Self {
        Self {
            worker_id: worker_id.to_owned(),
            machine,
            state,
            message: bounded(message).into_owned(),
            hint: hint.to_owned(),
            updated_at: Timestamp::of(env.utc()),
        }
    }

    /// Writes the notice, or replaces an earlier one about the same machine.
    pub async fn write(&self, bucket: &dyn Bucket) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bucket.put(&key(&self.machine), bytes.into(), Condition::Always).await.map(drop)
    }

    /// Removes the notice about a machine.
    pub async fn remove(machine: &RentedMachine, bucket: &dyn Bucket) -> Result<()> {
        bucket.delete(&key(machine)).await
    }
}

/// `workers/{provider}-{id}.json`, with nothing but letters, digits, `-` and `_`.
fn key(machine: &RentedMachine) -> String {
    let usable = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = format!("{}-{}", machine.provider, machine.id).chars().map(usable).take(100).collect();
    format!("{WORKERS}{name}.json")
}

/// The notices in a bucket that are not too old. What is no notice is skipped.
///
/// # Errors
/// If the bucket does not respond.
pub async fn notices(bucket: &dyn Bucket) -> Result<Vec<MachineNotice>> {
    let mut entries = bucket.list(WORKERS).await?;
    entries.retain(|entry| {
        entry.size_bytes <= MAX_BYTES && entry.age.is_none_or(|age| age < FORGET_ENDED_AFTER)
    });
    entries.sort_by_key(|entry| entry.age);
    let mut notices = Vec::new();
    for entry in entries.into_iter().take(MAX_NOTICES) {
        let Some(object) = bucket.get(&entry.key, MAX_BYTES).await? else { continue };
        let Ok(notice) = serde_json::from_slice::<MachineNotice>(&object.bytes) else { continue };
        if notice.state != MachineState::Running || entry.age.is_none_or(|age| age < FORGET_AFTER) {
            notices.push(notice);
        }
    }
    Ok(notices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::FolderBucket;
    use crate::env::SystemEnv;

    fn machine(id: &str) -> RentedMachine {
        RentedMachine {
            provider: "RunPod".into(),
            id: id.into(),
            kind: None,
            price_per_hour: Some(3.6),
            cost_dollars: None,
        }
    }

    #[tokio::test]
    async fn a_notice_is_replaced_and_removed_and_junk_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = FolderBucket::open(folder.path()).unwrap();
        let env = SystemEnv::shared();
        for message in ["first", "second"] {
            MachineNotice::new("w", machine("../p 1"), MachineState::Running, message, "end it", &*env)
                .write(&bucket)
                .await
                .unwrap();
        }
        bucket.put("workers/junk.json", "[]".into(), Condition::Always).await.unwrap();
        let found = notices(&bucket).await.unwrap();
        assert_eq!(found.iter().map(|n| n.message.as_str()).collect::<Vec<_>>(), ["second"]);
        MachineNotice::remove(&machine("../p 1"), &bucket).await.unwrap();
        assert_eq!(notices(&bucket).await.unwrap(), []);
    }

    #[test]
    fn the_cost_of_a_machine_is_its_price_for_the_time() {
        assert_eq!(machine("p").cost(1800.0), Some(1.8));
        assert_eq!(machine("p").cost(-5.0), Some(0.0));
        assert_eq!(machine("p").to_string(), "RunPod p ($3.60 per hour)");
    }
}
