//! The transitions of a manifest, as pure functions: from the current manifest and a requested change to the
//! next manifest, or the reason for refusing it. Nothing else changes a manifest.
//!
//! Every transition can safely be applied again to its own outcome, because a write with an unknown outcome
//! is resolved by reading back and deciding again.

use time::OffsetDateTime;

use crate::manifest::{
    Checkpoint, Claim, Heartbeat, MAX_ATTEMPTS, Manifest, RentedMachine, ResultPointer, Stage, Status,
    Timestamp,
};
use crate::quote::{bounded, quoted};
use crate::refusal::Refusal;

/// The outcome of applying a transition.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// The manifest to write.
    Write(Box<Manifest>),
    /// The manifest is as requested already; nothing to write.
    Already,
    /// The transition is not allowed.
    Refuse(Refusal),
}

/// How the event of a retry begins.
const RETRIED: &str = "retried";

fn write(manifest: Manifest) -> Decision {
    Decision::Write(Box::new(manifest))
}

/// The worker that claims a job.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Random id of this claim.
    pub claim_id: String,
    /// Name of the worker.
    pub worker_id: String,
    /// Name of the worker's machine.
    pub host: Option<String>,
    /// The machine, if a provider rents it out.
    pub machine: Option<RentedMachine>,
}

/// What the claimant observed of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The job was pending.
    Pending,
    /// The owner sent no heartbeat for the duration of the lease.
    Abandoned,
}

/// Claims a job for a worker. If the job's last allowed attempt died, or no larger attempt number exists, the job becomes
/// `failed` instead: the number is the fencing token, which never goes back.
pub fn claim(current: &Manifest, by: &Claimant, observed: Observed, now: OffsetDateTime) -> Decision {
    if owns(current, &by.claim_id) {
        return Decision::Already;
    }
    let mut next = current.clone();
    match (current.status, observed) {
        (Status::Pending, Observed::Pending) => {}
        (Status::Processing, Observed::Abandoned) => {
            let owner = quoted(current.worker_id.as_deref().unwrap_or("its worker"));
            if attempt_failed(&mut next, &format!("{owner} stopped responding"), true, now) {
                return write(next);
            }
        }
        (status, _) => return Decision::Refuse(Refusal::StatusChanged { status }),
    }
    let Some(attempt) = next.attempt.checked_add(1) else {
        let reason =
            format!("attempt {} is the last that has a number; submit the video again", next.attempt);
        next.note(reason.clone(), now);
        next.error = Some(reason);
        end_as_failed(&mut next, now);
        return write(next);
    };
    next.status = Status::Processing;
    next.attempt = attempt;
    next.claim = Some(Claim {
        id: by.claim_id.clone(),
        worker_id: by.worker_id.clone(),
        host: by.host.clone(),
        claimed_at: Timestamp::of(now),
        machine: by.machine.clone(),
    });
    next.worker_id = Some(by.worker_id.clone());
    next.started_at = Some(Timestamp::of(now));
    next.last_heartbeat = Some(Timestamp::of(now));
    next.heartbeat = Some(Heartbeat::default());
    next.completed_at = None;
    next.result = None;
    next.note(
        by.machine.as_ref().map_or("claimed".to_owned(), |machine| format!("claimed on {machine}")),
        now,
    );
    write(next)
}

/// Whether the claim owns the job.
pub fn owns(current: &Manifest, claim_id: &str) -> bool {
    current.status == Status::Processing && current.claim.as_ref().is_some_and(|c| c.id == claim_id)
}

/// Whether the claim completed the job.
pub fn completed_by(current: &Manifest, claim_id: &str) -> bool {
    let mine = current.claim.as_ref().is_some_and(|c| c.id == claim_id);
    mine && matches!(current.status, Status::Completed | Status::Imported)
}

/// Refuses a change by a former owner.
fn lost(current: &Manifest) -> Decision {
    Decision::Refuse(match (current.status, current.worker_id.clone()) {
        (Status::Processing, Some(worker_id)) => Refusal::OwnedBy { worker_id },
        (status, _) => Refusal::StatusChanged { status },
    })
}

/// Records the owner's heartbeat and progress.
pub fn heartbeat(current: &Manifest, claim_id: &str, progress: &Heartbeat, now: OffsetDateTime) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    let seq = current.heartbeat.as_ref().map_or(0, |h| h.seq).saturating_add(1);
    next.heartbeat = Some(Heartbeat { seq, ..progress.clone() });
    next.last_heartbeat = Some(Timestamp::of(now));
    if progress.stage == Stage::Tracking {
        next.frames_processed = Some(progress.current);
    }
    write(next)
}

/// Points the manifest at a checkpoint of its owner.
pub fn checkpoint(current: &Manifest, claim_id: &str, at: &Checkpoint, now: OffsetDateTime) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    if current.checkpoint.as_ref() == Some(at) {
        return Decision::Already;
    }
    let mut next = current.clone();
    next.checkpoint = Some(at.clone());
    next.last_heartbeat = Some(Timestamp::of(now));
    write(next)
}

/// Marks the job of this claim as completed, with its results. Repeating it changes nothing.
pub fn complete(
    current: &Manifest,
    claim_id: &str,
    result: &ResultPointer,
    frames_processed: u64,
    now: OffsetDateTime,
) -> Decision {
    if completed_by(current, claim_id) {
        return Decision::Already;
    }
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    next.status = Status::Completed;
    next.result = Some(result.clone());
    next.frames_processed = Some(frames_processed);
    next.completed_at = Some(Timestamp::of(now));
    next.last_heartbeat = Some(Timestamp::of(now));
    next.heartbeat = None;
    next.checkpoint = None;
    next.error = None;
    next.note(format!("completed with {} detections", result.detections), now);
    if let Some(missing) = &result.missing_frames {
        next.note(missing.to_string(), now);
    }
    add_cost(&mut next, now);
    write(next)
}

/// Records what the owner's machine has cost since the claim. Both times are by its own clock.
fn add_cost(next: &mut Manifest, now: OffsetDateTime) {
    let Some(claim) = &mut next.claim else { return };
    let seconds = (now - claim.claimed_at.moment()).as_seconds_f64();
    if let Some(machine) = &mut claim.machine {
        machine.cost_dollars = machine.cost(seconds);
        let cost = machine.cost_dollars.map(|cost| format!("this attempt cost ${cost:.2} on {machine}"));
        cost.into_iter().for_each(|what| next.note(what, now));
    }
}

/// Ends an attempt as failed. The job becomes pending for the next attempt, unless this was the last allowed
/// one or the failure is not `retryable`.
pub fn fail(
    current: &Manifest,
    claim_id: &str,
    reason: &str,
    retryable: bool,
    now: OffsetDateTime,
) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    if !attempt_failed(&mut next, reason, retryable, now) {
        requeue(&mut next);
    }
    write(next)
}

/// Releases a job without counting a failure, because its worker has to stop.
pub fn release(current: &Manifest, claim_id: &str, why: &str, now: OffsetDateTime) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    next.note(format!("released: {why}"), now);
    requeue(&mut next);
    write(next)
}

/// Counts a failed attempt. If it was the last allowed one, fails the job and returns true.
fn attempt_failed(next: &mut Manifest, reason: &str, retryable: bool, now: OffsetDateTime) -> bool {
    next.failures = next.failures.saturating_add(1);
    let reason = bounded(reason);
    next.error = Some(format!("attempt {}: {reason}", next.attempt));
    next.note(format!("attempt {} failed: {reason}", next.attempt), now);
    if next.failures < next.max_attempts.min(MAX_ATTEMPTS) && retryable {
        return false;
    }
    end_as_failed(next, now);
    true
}

fn end_as_failed(next: &mut Manifest, now: OffsetDateTime) {
    next.status = Status::Failed;
    next.completed_at = Some(Timestamp::of(now));
    next.claim = None;
    next.heartbeat = None;
}

fn requeue(next: &mut Manifest) {
    next.status = Status::Pending;
    next.claim = None;
    next.heartbeat = None;
}

/// Cancels a job, on behalf of a user of the machine `host`. Its owner, if any, learns of it from its next heartbeat.
pub fn cancel(current: &Manifest, host: Option<&str>, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Cancelled => Decision::Already,
        Status::Pending | Status::Processing => {
            let mut next = current.clone();
            next.status = Status::Cancelled;
            next.completed_at = Some(Timestamp::of(now));
            next.claim = None;
            next.heartbeat = None;
            next.note_by_user("cancelled", host, now);
            write(next)
        }
        status => Decision::Refuse(Refusal::NotCancellable { status }),
    }
}

/// Puts a failed or cancelled job back in the queue with a fresh count of failures. Keeps its checkpoint.
pub fn retry(current: &Manifest, host: Option<&str>, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Pending | Status::Processing => Decision::Already,
        Status::Failed | Status::Cancelled => {
            let mut next = current.clone();
            next.failures = 0;
            next.error = None;
            next.completed_at = None;
            next.note_by_user(RETRIED, host, now);
            requeue(&mut next);
            write(next)
        }
        status => Decision::Refuse(Refusal::NotRetryable { status }),
    }
}

/// Puts a completed job back in the queue because its results cannot be used: `why`. They are tracked again.
pub fn retry_results(current: &Manifest, why: &str, host: Option<&str>, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Pending | Status::Processing => Decision::Already,
        Status::Completed => {
            let mut next = current.clone();
            next.failures = 0;
            next.completed_at = None;
            next.result = None;
            next.note(format!("the results were refused: {}", bounded(why)), now);
            next.note_by_user(RETRIED, host, now);
            requeue(&mut next);
            write(next)
        }
        status => Decision::Refuse(Refusal::NotRetryable { status }),
    }
}

/// Whether a user retried the job since it was cancelled, according to its history.
pub fn was_retried(manifest: &Manifest) -> bool {
    manifest.events.iter().any(|event| event.what.starts_with(RETRIED))
}

/// Marks the results as imported into a library.
pub fn mark_imported(current: &Manifest, host: Option<&str>, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Imported => Decision::Already,
        Status::Completed => {
            let mut next = current.clone();
            next.status = Status::Imported;
            next.note_by_user("imported", host, now);
            write(next)
        }
        status => Decision::Refuse(Refusal::NotImportable { status }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::JobId;
    use crate::manifest::Parameters;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn pending() -> Manifest {
        Manifest::new(JobId::new("j").unwrap(), 1, Parameters::default(), NOW)
    }

    fn claimant(id: &str) -> Claimant {
        Claimant { claim_id: id.to_owned(), worker_id: format!("worker {id}"), host: None, machine: None }
    }

    /// The manifest that the decision writes.
    fn written(decision: Decision) -> Manifest {
        match decision {
            Decision::Write(manifest) => *manifest,
            other => panic!("{other:?}"),
        }
    }

    fn results() -> ResultPointer {
        ResultPointer {
            key: "results/j.json".into(),
            etag: None,
            size_bytes: 1,
            sha256: "00".into(),
            detections: 5,
            attempt: 1,
            missing_frames: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_job_is_claimed_completed_and_imported() {
        let owned = written(claim(&pending(), &claimant("a"), Observed::Pending, NOW));
        assert_eq!((owned.status, owned.attempt), (Status::Processing, 1));
        assert_eq!(claim(&owned, &claimant("a"), Observed::Pending, NOW), Decision::Already);
        let progress = Heartbeat { stage: Stage::Tracking, current: 7, ..Heartbeat::default() };
        let running = written(heartbeat(&owned, "a", &progress, NOW));
        assert_eq!((running.heartbeat.as_ref().unwrap().seq, running.frames_processed), (1, Some(7)));
        let completed = written(complete(&running, "a", &results(), 9, NOW));
        assert_eq!(complete(&completed, "a", &results(), 9, NOW), Decision::Already);
        let done = written(mark_imported(&completed, None, NOW));
        assert_eq!(mark_imported(&done, None, NOW), Decision::Already);
        // If the former owner retries after the import, it is still informed that the job is completed.
        assert_eq!(complete(&done, "a", &results(), 9, NOW), Decision::Already);
    }

    #[test]
    fn only_the_owner_can_change_an_owned_job() {
        let owned = written(claim(&pending(), &claimant("a"), Observed::Pending, NOW));
        let refused = |d: Decision| assert!(matches!(d, Decision::Refuse(_)), "{d:?}");
        refused(claim(&owned, &claimant("b"), Observed::Pending, NOW));
        refused(heartbeat(&owned, "b", &Heartbeat::default(), NOW));
        refused(complete(&owned, "b", &results(), 1, NOW));
        refused(fail(&owned, "b", "x", true, NOW));
        refused(release(&owned, "b", "x", NOW));
        refused(mark_imported(&owned, None, NOW));
    }

    #[test]
    fn the_job_fails_after_three_dead_attempts_with_the_last_reason() {
        let mut job = written(claim(&pending(), &claimant("a"), Observed::Pending, NOW));
        for id in ["b", "c"] {
            job = written(claim(&job, &claimant(id), Observed::Abandoned, NOW));
            assert_eq!(job.status, Status::Processing);
        }
        assert_eq!((job.attempt, job.failures), (3, 2));
        job = written(claim(&job, &claimant("d"), Observed::Abandoned, NOW));
        assert_eq!((job.status, job.attempt), (Status::Failed, 3));
        assert_eq!(job.error.as_deref(), Some("attempt 3: worker c stopped responding"));
        let job = written(retry(&job, None, NOW));
        assert_eq!((job.status, job.failures, job.attempt), (Status::Pending, 0, 3));
        assert_eq!(written(claim(&job, &claimant("e"), Observed::Pending, NOW)).attempt, 4);
    }

    #[test]
    fn a_long_reason_does_not_make_the_manifest_unreadable() {
        let mut job = Manifest { max_attempts: 100, ..pending() };
        let long = "word ".repeat(180_000);
        for _ in 0..99 {
            job = written(claim(&job, &claimant("a"), Observed::Pending, NOW));
            job = written(fail(&job, "a", &long, true, NOW));
            job = written(claim(&job, &claimant("a"), Observed::Pending, NOW));
            job = written(release(&job, "a", &long, NOW));
        }
        assert!(job.error.as_deref().is_some_and(|error| error.starts_with("attempt 197: word word")));
        assert!(job.to_bytes().len() < 100_000, "{} bytes", job.to_bytes().len());
    }

    #[test]
    fn numbers_at_their_maximum_never_go_back() {
        let most = || Manifest { attempt: u32::MAX, failures: u32::MAX, max_attempts: u32::MAX, ..pending() };
        let failed = written(claim(&most(), &claimant("a"), Observed::Pending, NOW));
        assert_eq!((failed.status, failed.attempt), (Status::Failed, u32::MAX));
        assert!(failed.error.as_deref().is_some_and(|why| why.contains("submit the video again")));
        assert_eq!(
            written(claim(&written(retry(&failed, None, NOW)), &claimant("a"), Observed::Pending, NOW))
                .attempt,
            u32::MAX
        );

        let almost = Manifest { attempt: u32::MAX - 1, ..most() };
        let owned = written(claim(&almost, &claimant("a"), Observed::Pending, NOW));
        assert_eq!((owned.status, owned.attempt), (Status::Processing, u32::MAX));
        let beating = Heartbeat { seq: u64::MAX, ..Heartbeat::default() };
        let owned = Manifest { heartbeat: Some(beating), ..owned };
        let next = written(heartbeat(&owned, "a", &Heartbeat::default(), NOW));
        assert_eq!(next.heartbeat.as_ref().map(|h| h.seq), Some(u64::MAX));
        let failed = written(fail(&next, "a", "no", true, NOW));
        assert_eq!((failed.status, failed.failures), (Status::Failed, u32::MAX));
    }

    #[test]
    fn a_job_fails_after_a_hundred_attempts_whatever_its_manifest_says() {
        let mut job = Manifest { max_attempts: u32::MAX, ..pending() };
        let mut n_attempts = 0;
        while job.status != Status::Failed {
            job = written(claim(&job, &claimant("a"), Observed::Pending, NOW));
            job = written(fail(&job, "a", "no", true, NOW));
            n_attempts += 1;
        }
        assert_eq!(n_attempts, MAX_ATTEMPTS);
    }

    #[test]
    fn a_released_attempt_does_not_count_as_a_failure() {
        let mut job = pending();
        for i in 0..9 {
            job = written(claim(&job, &claimant("a"), Observed::Pending, NOW));
            job = written(release(&job, "a", "stopped", NOW));
            assert_eq!((job.status, job.failures, job.attempt), (Status::Pending, 0, i + 1));
        }
    }

    #[test]
    fn a_failure_that_is_not_retryable_fails_the_job_immediately() {
        let owned = written(claim(&pending(), &claimant("a"), Observed::Pending, NOW));
        let failed = written(fail(&owned, "a", "the video is corrupt", false, NOW));
        assert_eq!(failed.status, Status::Failed);
        let again = written(retry(&failed, None, NOW));
        assert_eq!((again.status, again.failures), (Status::Pending, 0));
    }

    #[test]
    fn a_completed_job_cannot_be_changed_back() {
        let owned = written(claim(&pending(), &claimant("a"), Observed::Pending, NOW));
        let completed = written(complete(&owned, "a", &results(), 9, NOW));
        for job in [completed.clone(), written(mark_imported(&completed, None, NOW))] {
            for decision in [
                claim(&job, &claimant("b"), Observed::Pending, NOW),
                claim(&job, &claimant("b"), Observed::Abandoned, NOW),
                heartbeat(&job, "a", &Heartbeat::default(), NOW),
                fail(&job, "a", "x", false, NOW),
                release(&job, "a", "x", NOW),
                cancel(&job, None, NOW),
                retry(&job, None, NOW),
            ] {
                assert!(matches!(decision, Decision::Refuse(_)), "{decision:?}");
            }
        }
    }
}
