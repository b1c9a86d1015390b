//! What the law knows about one job, and what it asks of whoever takes it, points at checkpoints, or names
//! results.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jobs::bucket::Object;
use jobs::manifest::Manifest;

use super::desk::Origin;
use super::tracking::fault_of;
use super::worker::sha256;
use super::world::Life;

/// What holds in some scenarios only.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// Nobody loses a job who lives, is not stopped, and reaches the bucket.
    pub(super) is_fair: bool,
    /// How soon after its owner's death a job goes on.
    pub(super) longest_orphanage: Option<Duration>,
}

/// A write as the law sees it.
pub(super) struct Act<'a> {
    pub(super) now: Duration,
    pub(super) by: &'a Origin,
    pub(super) key: &'a str,
    pub(super) written: Option<&'a Object>,
    pub(super) objects: &'a BTreeMap<Arc<str>, Object>,
    pub(super) processes: &'a [Life],
}

/// Everything about one job.
pub(super) struct Record {
    pub(super) now: Manifest,
    pub(super) changed_at: Duration,
    /// When its status object changed last.
    pub(super) status_at: Duration,
    /// Who made which claim.
    pub(super) owners: BTreeMap<String, usize>,
    /// The claim of each attempt.
    pub(super) attempts: BTreeMap<u32, String>,
    pub(super) hopeless: HashSet<String>,
    /// An older program wrote it: what it overwrites nobody can promise.
    pub(super) is_older: bool,
}

/// A job was taken from its owner: was that right, and soon enough?
pub(super) fn orphaned(
    rules: Rules,
    act: &Act<'_>,
    owner: Option<&Life>,
    changed_at: Duration,
) -> Result<(), String> {
    let Some(owner) = owner else { return Ok(()) };
    let name = &owner.origin.name;
    if rules.is_fair && owner.died_at.is_none() && owner.paused_until <= changed_at {
        return Err(format!("{} robs {name}, which lives", act.by.name));
    }
    if let (Some(longest), Some(died_at)) = (rules.longest_orphanage, owner.died_at) {
        let took = act.now - died_at.max(changed_at);
        if took > longest {
            return Err(format!("{name}'s job was taken over {:.1} s after its death", took.as_secs_f64()));
        }
    }
    Ok(())
}

impl Record {
    pub(super) fn new(now: Manifest, changed_at: Duration) -> Self {
        Self {
            now,
            changed_at,
            status_at: Duration::ZERO,
            owners: BTreeMap::new(),
            attempts: BTreeMap::new(),
            hopeless: HashSet::new(),
            is_older: false,
        }
    }

    pub(super) fn claimed(&mut self, act: &Act<'_>) -> Result<(), String> {
        let id = &self.now.job_id;
        let claim = self.now.claim.as_ref().ok_or_else(|| format!("{id} is claimed by nobody"))?;
        if self.owners.insert(claim.id.clone(), act.by.idx).is_some() {
            return Err(format!("claim {} of {id} was made before", claim.id));
        }
        let before = self.attempts.insert(self.now.attempt, claim.id.clone());
        match before.filter(|_| !self.is_older) {
            Some(before) => Err(format!(
                "attempt {} of {id} belongs to two claims, {before} and {}",
                self.now.attempt, claim.id
            )),
            None => Ok(()),
        }
    }

    pub(super) fn points_at_a_checkpoint(&self, act: &Act<'_>) -> Result<(), String> {
        let Some(checkpoint) = &self.now.checkpoint else { return Ok(()) };
        for file in &checkpoint.files {
            let there = act.objects.get(file.key.as_str());
            if there.is_none_or(|object| object.bytes.len() as u64 != file.size_bytes) {
                return Err(format!("{} names {}, which is not there", self.now.job_id, file.key));
            }
        }
        Ok(())
    }

    pub(super) fn points_at_results(&self, act: &Act<'_>) -> Result<(), String> {
        let id = &self.now.job_id;
        let Some(result) = &self.now.result else { return Err(format!("{id} names no results")) };
        let Some(object) = act.objects.get(result.key.as_str()) else {
            return Err(format!("{} is not there", result.key));
        };
        let found = (&object.etag.0, object.bytes.len() as u64, sha256(&object.bytes));
        let etag = result.etag.clone().unwrap_or_default();
        let named = (&etag, result.size_bytes, result.sha256.clone());
        if found != named || result.attempt != self.now.attempt {
            return Err(format!("{id} names results {named:?} and there are {found:?}"));
        }
        let n_frames = self.now.video.as_ref().and_then(|video| video.n_frames).unwrap_or_default();
        match fault_of(&object.bytes, id, n_frames, Some(self.now.attempt)) {
            Some(fault) => Err(format!("the results of {id} are wrong: {fault}")),
            None => Ok(()),
        }
    }
}
