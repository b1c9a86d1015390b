//! Checks the invariants after every write and at the end. The checker knows everything that the parties do
//! not: who wrote what and when, and which processes are alive.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jobs::JobId;
use jobs::bucket::Object;
use jobs::keys::{JOBS, RESULTS};
use jobs::manifest::{Manifest, Status};

use super::job_record::{JobRecord, Rules, WriteEvent, check_takeover};
use super::process_context::{ProcessInfo, Role};
use super::scenario::Scenario;
use super::transitions::{Step, Transition, transition};
use super::world::{Declaration, ProcessState};

/// Checks all writes of a simulation.
pub(super) struct InvariantChecker {
    rules: Rules,
    lease: Duration,
    foreign_lease: Duration,
    jobs: BTreeMap<JobId, JobRecord>,
    submitted: HashSet<JobId>,
    n_planned: usize,
    write_ids: HashSet<String>,
    database: BTreeMap<JobId, String>,
}

/// The result of checking a valid write.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) what: String,
    pub(super) counts: Vec<&'static str>,
}

impl InvariantChecker {
    pub(super) fn new(scenario: &Scenario) -> Self {
        // The checker's clock is exact; an observer's may run fast.
        let slack = 1.0 / (1.0 + scenario.drift) - 1e-3;
        Self {
            rules: scenario.rules,
            lease: jobs::Timing::default().lease.mul_f64(slack),
            foreign_lease: jobs::Timing::default().foreign_lease.mul_f64(slack),
            jobs: BTreeMap::new(),
            submitted: HashSet::new(),
            n_planned: scenario.n_jobs,
            write_ids: HashSet::new(),
            database: BTreeMap::new(),
        }
    }

    /// Registers a manifest that exists before the simulation starts.
    pub(super) fn add_existing(&mut self, key: &str, object: &Object) {
        let job = Manifest::parse(key, &object.bytes).unwrap();
        self.jobs.insert(job.job_id.clone(), JobRecord::new(job, Duration::ZERO));
    }

    pub(super) fn declare(&mut self, id: &JobId, what: Declaration) {
        match what {
            Declaration::Submitted => drop(self.submitted.insert(id.clone())),
            Declaration::NotRetryable { claim_id } => {
                self.jobs.get_mut(id).map(|job| job.not_retryable.insert(claim_id));
            }
        }
    }

    pub(super) fn is_submitted(&self, id: &JobId) -> bool {
        self.submitted.contains(id)
    }

    /// Checks a write at the moment it takes effect; `objects` are those before the write.
    pub(super) fn check_write(
        &mut self,
        now: Duration,
        by: &ProcessInfo,
        key: &str,
        written: Option<&Object>,
        objects: &BTreeMap<Arc<str>, Object>,
        processes: &[ProcessState],
    ) -> Result<Verdict, String> {
        let event = WriteEvent { now, by, key, written, objects, processes };
        match key.split_once('/') {
            Some(("jobs", _)) => self.manifest(&event),
            Some(("results", _)) => self.results(&event),
            Some(("checkpoints", _)) => self.checkpoint(&event),
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

    fn manifest(&mut self, event: &WriteEvent<'_>) -> Result<Verdict, String> {
        let Some(object) = event.written else { return Err(format!("{} was removed", event.key)) };
        let new = Manifest::parse(event.key, &object.bytes).map_err(|e| e.to_string())?;
        let Some(job) = self.jobs.get_mut(&new.job_id) else {
            return self.created(event, new);
        };
        if event.by.role == Role::LegacyWorker {
            (job.now, job.changed_at, job.is_legacy) = (new, event.now, true);
            return Ok(Verdict { what: format!(": now {}", job.now.status), ..Verdict::default() });
        }
        if !self.write_ids.insert(new.write_id.clone()) {
            return Err(format!("write {} took effect twice", new.write_id));
        }
        let old = std::mem::replace(&mut job.now, new);
        let owner_idx = old.claim.as_ref().and_then(|claim| job.owners.get(&claim.id)).copied();
        let changed_at = std::mem::replace(&mut job.changed_at, event.now);
        let (last_write_at, lease) = match old.is_foreign() {
            true => (changed_at.max(job.status_at), self.foreign_lease),
            false => (changed_at, self.lease),
        };
        let step = Step {
            old: &old,
            new: &job.now,
            role: event.by.role,
            is_owner: owner_idx == Some(event.by.idx),
            is_fatal: old.claim.as_ref().is_some_and(|claim| job.not_retryable.contains(&claim.id)),
            unchanged_for: event.now - last_write_at,
            lease,
        };
        let transition = transition(&step)?;
        let owner = owner_idx.map(|idx| &event.processes[idx]);
        match transition {
            Transition::Claim => job.claimed(event)?,
            Transition::Takeover => {
                check_takeover(self.rules, event, owner, changed_at)?;
                job.claimed(event)?;
            }
            Transition::LastAttemptLost => check_takeover(self.rules, event, owner, changed_at)?,
            Transition::Heartbeat => job.points_at_a_checkpoint(event)?,
            Transition::Completion => job.points_at_results(event)?,
            _ => {}
        }
        let what = format!(": {transition:?}, rev {}, attempt {}", job.now.rev, job.now.attempt);
        Ok(Verdict { what, counts: vec![transition.name()] })
    }

    fn created(&mut self, event: &WriteEvent<'_>, new: Manifest) -> Result<Verdict, String> {
        let is_new = (new.status, new.rev, new.attempt, new.failures) == (Status::Pending, 1, 0, 0);
        if event.by.role != Role::Submitter || !is_new {
            return Err(format!("{} was created by {} as {}", event.key, event.by.name, new.status));
        }
        if !event.objects.contains_key(new.video_key().as_str()) {
            return Err(format!("{} was created before its video", event.key));
        }
        self.jobs.insert(new.job_id.clone(), JobRecord::new(new, event.now));
        Ok(Verdict { what: ": created".to_owned(), counts: vec!["a job was submitted"] })
    }

    fn results(&mut self, event: &WriteEvent<'_>) -> Result<Verdict, String> {
        let id = JobId::new(event.key.trim_start_matches(RESULTS).trim_end_matches(".json")).unwrap();
        let Some(job) = self.jobs.get(&id) else { return Err(format!("{} belongs to no job", event.key)) };
        let is_over = matches!(job.now.status, Status::Completed | Status::Imported) && !job.is_legacy;
        let found = event.objects.get(event.key).map(|object| &object.etag);
        if is_over && found != event.written.map(|object| &object.etag) {
            return Err(format!("{} is overwritten although {id} is {}", event.key, job.now.status));
        }
        Ok(Verdict { counts: vec!["results were written"], ..Verdict::default() })
    }

    fn checkpoint(&mut self, event: &WriteEvent<'_>) -> Result<Verdict, String> {
        let mut parts = event.key.split('/').skip(1);
        let id = JobId::new(parts.next().unwrap_or_default()).unwrap();
        let attempt = parts.next().and_then(|part| part.split('-').next()?.parse::<u32>().ok());
        let Some(job) = self.jobs.get(&id) else { return Err(format!("{} belongs to no job", event.key)) };
        if job.is_legacy {
            return Ok(Verdict::default());
        }
        let Some(written) = event.written else {
            return match job.now.status {
                Status::Completed | Status::Imported => Ok(Verdict::default()),
                status => Err(format!("{} was removed while {id} is {status}", event.key)),
            };
        };
        if event.objects.get(event.key).is_some_and(|found| found.etag != written.etag) {
            return Err(format!("{} belongs to another checkpoint", event.key));
        }
        let claim = attempt.and_then(|attempt| job.attempts.get(&attempt));
        match claim.and_then(|claim| job.owners.get(claim)) == Some(&event.by.idx) {
            true => Ok(Verdict { counts: vec!["a checkpoint was written"], ..Verdict::default() }),
            false => Err(format!("{} wrote {}, which belongs to another attempt", event.by.name, event.key)),
        }
    }

    /// Describes a refused write for the counts.
    pub(super) fn refused(&self, by: &ProcessInfo, key: &str) -> &'static str {
        let id = key.strip_prefix(RESULTS).or_else(|| key.strip_prefix(JOBS));
        let job = id.and_then(|id| self.jobs.get(&id.strip_suffix(".json")?.parse::<JobId>().ok()?));
        let owner = job.and_then(|job| Some(*job.owners.get(&job.now.claim.as_ref()?.id)?));
        match (key.starts_with(RESULTS), by.role == Role::Worker && owner != Some(by.idx)) {
            (true, true) => "a stale owner's results were refused",
            (true, false) => "the owner's results were refused",
            (false, true) => "a stale owner's manifest was refused",
            (false, false) => "a manifest was refused",
        }
    }

    pub(super) fn import(&mut self, id: &JobId, sha256: &str) -> Result<&'static str, String> {
        match self.database.insert(id.clone(), sha256.to_owned()) {
            None => Ok("results entered the database"),
            Some(found) if found == sha256 => Ok("results were in the database already"),
            Some(_) if self.jobs.get(id).is_some_and(|job| job.is_legacy) => {
                Ok("a legacy worker wrote twice")
            }
            Some(_) => Err(format!("{id} was imported twice with different results")),
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        let is_over = |job: &JobRecord| job.now.status.is_finished() && job.now.status != Status::Completed;
        self.submitted.len() == self.n_planned && self.jobs.values().all(is_over)
    }

    /// Checks the final state.
    pub(super) fn close(&self, objects: &BTreeMap<Arc<str>, Object>) -> Result<(), String> {
        if let Some(id) = self.submitted.iter().find(|id| !self.jobs.contains_key(*id)) {
            return Err(format!("{id} was submitted but does not exist"));
        }
        if self.submitted.len() < self.n_planned {
            let (n, of) = (self.submitted.len(), self.n_planned);
            return Err(format!("only {n} of {of} jobs could be submitted"));
        }
        for (id, job) in &self.jobs {
            let imported = self.database.get(id);
            match (job.now.status, &job.now.result) {
                (Status::Cancelled | Status::Failed, _) if imported.is_none() || job.is_legacy => {}
                (Status::Imported, None) if imported.is_some() && job.is_legacy => {}
                (Status::Imported, Some(result)) if imported == Some(&result.sha256) => {
                    let found = objects.get(result.key.as_str()).map(|object| object.etag.0.clone());
                    if found != result.etag {
                        return Err(format!("{} is not the version that {id} names", result.key));
                    }
                }
                (status, _) => {
                    let presence = if imported.is_some() { "and is" } else { "and is not" };
                    return Err(format!("{id} is {status} at the end {presence} in the database"));
                }
            }
        }
        Ok(())
    }
}
