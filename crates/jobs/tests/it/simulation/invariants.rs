//! What must hold after every single write, and at the end. The law knows everything: who wrote, when, who
//! lives. The parties know none of that.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jobs::JobId;
use jobs::bucket::Object;
use jobs::keys::{JOBS, RESULTS};
use jobs::manifest::{Manifest, Status};

use super::desk::{Origin, Role};
use super::record::{Act, Record, Rules, orphaned};
use super::scenario::Knobs;
use super::transitions::{Meaning, Step, meaning};
use super::world::{Life, Told};

pub(super) struct Law {
    rules: Rules,
    lease: Duration,
    foreign_lease: Duration,
    jobs: BTreeMap<JobId, Record>,
    submitted: HashSet<JobId>,
    n_planned: usize,
    write_ids: HashSet<String>,
    database: BTreeMap<JobId, String>,
}

/// A write that was right.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) counts: Vec<&'static str>,
}

impl Law {
    pub(super) fn new(knobs: &Knobs) -> Self {
        // The law's clock is right; an observer's may run fast.
        let slack = 1.0 / (1.0 + knobs.drift) - 1e-3;
        Self {
            rules: knobs.rules,
            lease: jobs::Timing::default().lease.mul_f64(slack),
            foreign_lease: jobs::Timing::default().foreign_lease.mul_f64(slack),
            jobs: BTreeMap::new(),
            submitted: HashSet::new(),
            n_planned: knobs.n_jobs,
            write_ids: HashSet::new(),
            database: BTreeMap::new(),
        }
    }

    /// A register that was there before everything.
    pub(super) fn found(&mut self, key: &str, object: &Object) {
        let job = Manifest::parse(key, &object.bytes).unwrap();
        self.jobs.insert(job.job_id.clone(), Record::new(job, Duration::ZERO));
    }

    pub(super) fn told(&mut self, id: &JobId, what: Told) {
        match what {
            Told::Submitted => drop(self.submitted.insert(id.clone())),
            Told::NoHope { claim_id } => {
                self.jobs.get_mut(id).map(|job| job.hopeless.insert(claim_id));
            }
        }
    }

    pub(super) fn is_submitted(&self, id: &JobId) -> bool {
        self.submitted.contains(id)
    }

    /// Judges a write at the moment it happens; `objects` are those before.
    pub(super) fn judge(
        &mut self,
        now: Duration,
        by: &Origin,
        key: &str,
        written: Option<&Object>,
        objects: &BTreeMap<Arc<str>, Object>,
        processes: &[Life],
    ) -> Result<Verdict, String> {
        let act = Act { now, by, key, written, objects, processes };
        match key.split_once('/') {
            Some(("jobs", _)) => self.register(&act),
            Some(("results", _)) => self.results(&act),
            Some(("checkpoints", _)) => self.checkpoint(&act),
            Some(("status", rest)) => {
                let id = rest.strip_suffix(".json").and_then(|id| id.parse().ok());
                if let Some(job) = id.and_then(|id: JobId| self.jobs.get_mut(&id)) {
                    job.status_at = now;
                }
                Ok(Verdict::default())
            }
            Some(("index", _)) => Ok(Verdict { counts: vec!["the index was written"], ..Verdict::default() }),
            _ => Ok(Verdict::default()),
        }
    }

    fn register(&mut self, act: &Act<'_>) -> Result<Verdict, String> {
        let Some(object) = act.written else { return Err(format!("{} is removed", act.key)) };
        let new = Manifest::parse(act.key, &object.bytes).map_err(|e| e.to_string())?;
        let Some(job) = self.jobs.get_mut(&new.job_id) else {
            return self.created(act, new);
        };
        if act.by.role == Role::Older {
            (job.now, job.changed_at, job.is_older) = (new, act.now, true);
            return Ok(Verdict { what: format!(": now {}", job.now.status), ..Verdict::default() });
        }
        if !self.write_ids.insert(new.write_id.clone()) {
            return Err(format!("write {} happens twice", new.write_id));
        }
        let old = std::mem::replace(&mut job.now, new);
        let owner_idx = old.claim.as_ref().and_then(|claim| job.owners.get(&claim.id)).copied();
        let changed_at = std::mem::replace(&mut job.changed_at, act.now);
        let (spoke_at, lease) = match old.is_foreign() {
            true => (changed_at.max(job.status_at), self.foreign_lease),
            false => (changed_at, self.lease),
        };
        let step = Step {
            old: &old,
            new: &job.now,
            role: act.by.role,
            is_owner: owner_idx == Some(act.by.idx),
            no_hope: old.claim.as_ref().is_some_and(|claim| job.hopeless.contains(&claim.id)),
            silence: act.now - spoke_at,
            lease,
        };
        let meaning = meaning(&step)?;
        let owner = owner_idx.map(|idx| &act.processes[idx]);
        match meaning {
            Meaning::Claim => job.claimed(act)?,
            Meaning::Takeover => {
                orphaned(self.rules, act, owner, changed_at)?;
                job.claimed(act)?;
            }
            Meaning::LastAttemptLost => orphaned(self.rules, act, owner, changed_at)?,
            Meaning::Sign => job.points_at_a_checkpoint(act)?,
            Meaning::Completion => job.points_at_results(act)?,
            _ => {}
        }
        let what = format!(": {meaning:?}, rev {}, attempt {}", job.now.rev, job.now.attempt);
        Ok(Verdict { what, counts: vec![meaning.name()] })
    }

    fn created(&mut self, act: &Act<'_>, new: Manifest) -> Result<Verdict, String> {
        let is_new = (new.status, new.rev, new.attempt, new.failures) == (Status::Pending, 1, 0, 0);
        if act.by.role != Role::Submitter || !is_new {
            return Err(format!("{} is created by {} as {}", act.key, act.by.name, new.status));
        }
        if !act.objects.contains_key(new.video_key().as_str()) {
            return Err(format!("{} is there before its video", act.key));
        }
        self.jobs.insert(new.job_id.clone(), Record::new(new, act.now));
        Ok(Verdict { what: ": created".to_owned(), counts: vec!["a job was submitted"] })
    }

    fn results(&mut self, act: &Act<'_>) -> Result<Verdict, String> {
        let id = JobId::new(act.key.trim_start_matches(RESULTS).trim_end_matches(".json")).unwrap();
        let Some(job) = self.jobs.get(&id) else { return Err(format!("{} is of no job", act.key)) };
        let is_over = matches!(job.now.status, Status::Completed | Status::Imported) && !job.is_older;
        let there = act.objects.get(act.key).map(|object| &object.etag);
        if is_over && there != act.written.map(|object| &object.etag) {
            return Err(format!("{} is overwritten although {id} is {}", act.key, job.now.status));
        }
        Ok(Verdict { counts: vec!["results were written"], ..Verdict::default() })
    }

    fn checkpoint(&mut self, act: &Act<'_>) -> Result<Verdict, String> {
        let mut parts = act.key.split('/').skip(1);
        let id = JobId::new(parts.next().unwrap_or_default()).unwrap();
        let attempt = parts.next().and_then(|part| part.split('-').next()?.parse::<u32>().ok());
        let Some(job) = self.jobs.get(&id) else { return Err(format!("{} is of no job", act.key)) };
        if job.is_older {
            return Ok(Verdict::default());
        }
        let Some(written) = act.written else {
            return match job.now.status {
                Status::Completed | Status::Imported => Ok(Verdict::default()),
                status => Err(format!("{} is removed while {id} is {status}", act.key)),
            };
        };
        if act.objects.get(act.key).is_some_and(|there| there.etag != written.etag) {
            return Err(format!("{} is another checkpoint's", act.key));
        }
        let claim = attempt.and_then(|attempt| job.attempts.get(&attempt));
        match claim.and_then(|claim| job.owners.get(claim)) == Some(&act.by.idx) {
            true => Ok(Verdict { counts: vec!["a checkpoint was written"], ..Verdict::default() }),
            false => Err(format!("{} writes {}, which is another attempt's", act.by.name, act.key)),
        }
    }

    /// What it means for the parties that a write is refused.
    pub(super) fn refused(&self, by: &Origin, key: &str) -> &'static str {
        let id = key.strip_prefix(RESULTS).or_else(|| key.strip_prefix(JOBS));
        let job = id.and_then(|id| self.jobs.get(&id.strip_suffix(".json")?.parse::<JobId>().ok()?));
        let owner = job.and_then(|job| Some(*job.owners.get(&job.now.claim.as_ref()?.id)?));
        match (key.starts_with(RESULTS), by.role == Role::Worker && owner != Some(by.idx)) {
            (true, true) => "results of a lost attempt were refused",
            (true, false) => "results of the owner's were refused",
            (false, true) => "a register of a loser's was refused",
            (false, false) => "a register was refused",
        }
    }

    pub(super) fn import(&mut self, id: &JobId, sha256: &str) -> Result<&'static str, String> {
        match self.database.insert(id.clone(), sha256.to_owned()) {
            None => Ok("results entered the database"),
            Some(there) if there == sha256 => Ok("results were found in the database"),
            Some(_) if self.jobs.get(id).is_some_and(|job| job.is_older) => {
                Ok("an older program wrote twice")
            }
            Some(_) => Err(format!("{id} is imported twice, with different results")),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        let is_over = |job: &Record| job.now.status.is_finished() && job.now.status != Status::Completed;
        self.submitted.len() == self.n_planned && self.jobs.values().all(is_over)
    }

    /// Judges what is left at the end.
    pub(super) fn close(&self, objects: &BTreeMap<Arc<str>, Object>) -> Result<(), String> {
        if let Some(id) = self.submitted.iter().find(|id| !self.jobs.contains_key(*id)) {
            return Err(format!("{id} was submitted and is not there"));
        }
        if self.submitted.len() < self.n_planned {
            let (n, of) = (self.submitted.len(), self.n_planned);
            return Err(format!("only {n} of {of} jobs could be submitted"));
        }
        for (id, job) in &self.jobs {
            let imported = self.database.get(id);
            match (job.now.status, &job.now.result) {
                (Status::Cancelled | Status::Failed, _) if imported.is_none() || job.is_older => {}
                (Status::Imported, None) if imported.is_some() && job.is_older => {}
                (Status::Imported, Some(result)) if imported == Some(&result.sha256) => {
                    let there = objects.get(result.key.as_str()).map(|object| object.etag.0.clone());
                    if there != result.etag {
                        return Err(format!("{} is not what {id} names", result.key));
                    }
                }
                (status, _) => {
                    let there = if imported.is_some() { "and is" } else { "and is not" };
                    return Err(format!("{id} is {status} at the end {there} in the database"));
                }
            }
        }
        Ok(())
    }
}
