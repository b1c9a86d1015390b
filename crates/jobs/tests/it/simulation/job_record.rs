//! What the checker knows about one job, and the checks of claims, checkpoints and results.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jobs::bucket::Object;
use jobs::manifest::Manifest;

use super::process_context::ProcessInfo;
use super::tracking::find_problem;
use super::worker::sha256;
use super::world::ProcessState;

/// Invariants that hold only in some scenarios.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// No process loses a job while it is alive, not paused, and can reach the bucket.
    pub(super) is_fair: bool,
    /// Longest time from an owner's death to the takeover of its job.
    pub(super) max_takeover_delay: Option<Duration>,
}

/// A write that the checker examines.
pub(super) struct WriteEvent<'a> {
    pub(super) now: Duration,
    pub(super) by: &'a ProcessInfo,
    pub(super) key: &'a str,
    pub(super) written: Option<&'a Object>,
    pub(super) objects: &'a BTreeMap<Arc<str>, Object>,
    pub(super) processes: &'a [ProcessState],
}

/// Everything about one job.
pub(super) struct JobRecord {
    pub(super) now: Manifest,
    pub(super) changed_at: Duration,
    /// When its status object last changed.
    pub(super) status_at: Duration,
    /// The process that made each claim, by claim id.
    pub(super) owners: BTreeMap<String, usize>,
    /// The claim id of each attempt.
    pub(super) attempts: BTreeMap<u32, String>,
    pub(super) not_retryable: HashSet<String>,
    /// Whether a legacy worker wrote the manifest. Its unconditional writes void most guarantees.
    pub(super) is_legacy: bool,
}

/// Checks that taking a job from its owner was justified, and happened soon enough.
pub(super) fn check_takeover(
    rules: Rules,
    event: &WriteEvent<'_>,
    owner: Option<&ProcessState>,
    changed_at: Duration,
) -> Result<(), String> {
    let Some(owner) = owner else { return Ok(()) };
    let name = &owner.info.name;
    if rules.is_fair && owner.died_at.is_none() && owner.paused_until <= changed_at {
        return Err(format!("{} took a job from {name}, which is alive", event.by.name));
    }
    if let (Some(longest), Some(died_at)) = (rules.max_takeover_delay, owner.died_at) {
        let took = event.now - died_at.max(changed_at);
        if took > longest {
            return Err(format!(
                "the job of {name} was taken over {:.1} s after its death",
                took.as_secs_f64()
            ));
        }
    }
    Ok(())
}

impl JobRecord {
    pub(super) fn new(now: Manifest, changed_at: Duration) -> Self {
        Self {
            now,
            changed_at,
            status_at: Duration::ZERO,
            owners: BTreeMap::new(),
            attempts: BTreeMap::new(),
            not_retryable: HashSet::new(),
            is_legacy: false,
        }
    }

    pub(super) fn claimed(&mut self, event: &WriteEvent<'_>) -> Result<(), String> {
        let id = &self.now.job_id;
        let claim = self.now.claim.as_ref().ok_or_else(|| format!("{id} has no claim"))?;
        if self.owners.insert(claim.id.clone(), event.by.idx).is_some() {
            return Err(format!("claim {} of {id} was made twice", claim.id));
        }
        let before = self.attempts.insert(self.now.attempt, claim.id.clone());
        match before.filter(|_| !self.is_legacy) {
            Some(before) => Err(format!(
                "attempt {} of {id} belongs to two claims, {before} and {}",
                self.now.attempt, claim.id
            )),
            None => Ok(()),
        }
    }

    pub(super) fn points_at_a_checkpoint(&self, event: &WriteEvent<'_>) -> Result<(), String> {
        let Some(checkpoint) = &self.now.checkpoint else { return Ok(()) };
        for file in &checkpoint.files {
            let found = event.objects.get(file.key.as_str());
            if found.is_none_or(|object| object.bytes.len() as u64 != file.size_bytes) {
                return Err(format!("{} names {}, which does not exist", self.now.job_id, file.key));
            }
        }
        Ok(())
    }

    pub(super) fn points_at_results(&self, event: &WriteEvent<'_>) -> Result<(), String> {
        let id = &self.now.job_id;
        let Some(result) = &self.now.result else { return Err(format!("{id} names no results")) };
        let Some(object) = event.objects.get(result.key.as_str()) else {
            return Err(format!("{} does not exist", result.key));
        };
        let found = (&object.etag.0, object.bytes.len() as u64, sha256(&object.bytes));
        let etag = result.etag.clone().unwrap_or_default();
        let named = (&etag, result.size_bytes, result.sha256.clone());
        if found != named || result.attempt != self.now.attempt {
            return Err(format!("{id} names the results {named:?}, but they are {found:?}"));
        }
        let n_frames = self.now.video.as_ref().and_then(|video| video.n_frames).unwrap_or_default();
        match find_problem(&object.bytes, id, n_frames, Some(self.now.attempt)) {
            Some(fault) => Err(format!("the results of {id} are wrong: {fault}")),
            None => Ok(()),
        }
    }
}
