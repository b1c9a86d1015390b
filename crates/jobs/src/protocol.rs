//! The transitions of a register, as pure functions: from a register and what somebody wants, the next
//! register, or why not. Nothing else changes one. Each is safe to run again on what came of it: a write whose
//! fate is unknown is settled by reading back and asking again.

use time::OffsetDateTime;

use crate::manifest::{Checkpoint, Claim, Heartbeat, Manifest, ResultPointer, Status, Timestamp};

/// What becomes of a wish.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// The register to write.
    Write(Box<Manifest>),
    /// It is so already.
    Already,
    /// It must not be, in words that follow "job X".
    Refuse(String),
}

fn write(manifest: Manifest) -> Decision {
    Decision::Write(Box::new(manifest))
}

fn refuse(why: impl Into<String>) -> Decision {
    Decision::Refuse(why.into())
}

/// Who wants a job.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// Random, for this one claim.
    pub claim_id: String,
    /// Name of the worker.
    pub worker_id: String,
    /// Its machine.
    pub host: Option<String>,
}

/// What the claimant saw of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It waits.
    Waiting,
    /// Its owner did not speak for the whole lease.
    Abandoned,
}

/// Takes a job. A job whose last allowed attempt died becomes `failed` instead.
pub fn claim(current: &Manifest, by: &Claimant, seen: Seen, now: OffsetDateTime) -> Decision {
    if owns(current, &by.claim_id) {
        return Decision::Already;
    }
    let mut next = current.clone();
    match (current.status, seen) {
        (Status::Pending, Seen::Waiting) => {}
        (Status::Processing, Seen::Abandoned) => {
            let owner = current.worker_id.as_deref().unwrap_or("its worker");
            if attempt_lost(&mut next, &format!("{owner} stopped answering"), false, now) {
                return write(next);
            }
        }
        (status, _) => return refuse(format!("is {status} now")),
    }
    next.status = Status::Processing;
    next.attempt += 1;
    next.claim = Some(Claim {
        id: by.claim_id.clone(),
        worker_id: by.worker_id.clone(),
        host: by.host.clone(),
        claimed_at: Timestamp::of(now),
    });
    next.worker_id = Some(by.worker_id.clone());
    next.started_at = Some(Timestamp::of(now));
    next.last_heartbeat = Some(Timestamp::of(now));
    next.heartbeat = Some(Heartbeat::default());
    next.completed_at = None;
    next.result = None;
    next.note("claimed", now);
    write(next)
}

/// Whether the claim is the register's.
pub fn owns(current: &Manifest, claim_id: &str) -> bool {
    current.status == Status::Processing && current.claim.as_ref().is_some_and(|c| c.id == claim_id)
}

/// Whether the claim brought the job to its good end.
pub fn completed_by(current: &Manifest, claim_id: &str) -> bool {
    let mine = current.claim.as_ref().is_some_and(|c| c.id == claim_id);
    mine && matches!(current.status, Status::Completed | Status::Imported)
}

/// Why an owner is none any more.
fn lost(current: &Manifest) -> Decision {
    refuse(match (current.status, current.worker_id.as_deref()) {
        (Status::Processing, Some(other)) => format!("is {other}'s now"),
        (status, _) => format!("is {status} now"),
    })
}

/// Sign of life and progress of the owner.
pub fn beat(current: &Manifest, claim_id: &str, progress: &Heartbeat, now: OffsetDateTime) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    let seq = current.heartbeat.as_ref().map_or(0, |h| h.seq) + 1;
    next.heartbeat = Some(Heartbeat { seq, ..progress.clone() });
    next.last_heartbeat = Some(Timestamp::of(now));
    if progress.stage == "tracking" {
        next.frames_processed = Some(progress.current);
    }
    write(next)
}

/// Points at a checkpoint of the owner's.
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

/// Ends a job well.
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
    write(next)
}

/// Ends an attempt badly. The job waits for the next one, unless this was the last or there is `no_hope`.
pub fn fail(
    current: &Manifest,
    claim_id: &str,
    reason: &str,
    no_hope: bool,
    now: OffsetDateTime,
) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    if !attempt_lost(&mut next, reason, no_hope, now) {
        back_to_the_queue(&mut next);
    }
    write(next)
}

/// Gives a job back: the worker was told to stop. Does not count as a failure.
pub fn release(current: &Manifest, claim_id: &str, why: &str, now: OffsetDateTime) -> Decision {
    if !owns(current, claim_id) {
        return lost(current);
    }
    let mut next = current.clone();
    next.note(format!("released: {why}"), now);
    back_to_the_queue(&mut next);
    write(next)
}

/// Counts a lost attempt; returns whether it was the last, and the job is failed.
fn attempt_lost(next: &mut Manifest, reason: &str, no_hope: bool, now: OffsetDateTime) -> bool {
    next.failures += 1;
    next.error = Some(format!("attempt {}: {reason}", next.attempt));
    next.note(format!("attempt {} failed: {reason}", next.attempt), now);
    if next.failures < next.max_attempts && !no_hope {
        return false;
    }
    next.status = Status::Failed;
    next.completed_at = Some(Timestamp::of(now));
    next.claim = None;
    next.heartbeat = None;
    true
}

fn back_to_the_queue(next: &mut Manifest) {
    next.status = Status::Pending;
    next.claim = None;
    next.heartbeat = None;
}

/// Ends a job that nobody wants any more. Its owner, if there is one, finds out by its next heartbeat.
pub fn cancel(current: &Manifest, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Cancelled => Decision::Already,
        Status::Pending | Status::Processing => {
            let mut next = current.clone();
            next.status = Status::Cancelled;
            next.completed_at = Some(Timestamp::of(now));
            next.claim = None;
            next.heartbeat = None;
            next.note("cancelled", now);
            write(next)
        }
        status => refuse(format!("is {status}; there is nothing to cancel")),
    }
}

/// Puts a failed or cancelled job back in the queue, with all its attempts. Its checkpoint stays.
pub fn retry(current: &Manifest, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Pending | Status::Processing => Decision::Already,
        Status::Failed | Status::Cancelled => {
            let mut next = current.clone();
            next.failures = 0;
            next.error = None;
            next.completed_at = None;
            next.note("retried", now);
            back_to_the_queue(&mut next);
            write(next)
        }
        status => refuse(format!("is {status}; only a failed or cancelled job can be retried")),
    }
}

/// Marks the results as being in a library.
pub fn imported(current: &Manifest, now: OffsetDateTime) -> Decision {
    match current.status {
        Status::Imported => Decision::Already,
        Status::Completed => {
            let mut next = current.clone();
            next.status = Status::Imported;
            next.note("imported", now);
            write(next)
        }
        status => refuse(format!("is {status}; there is nothing to import")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::JobId;
    use crate::manifest::Parameters;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn waiting() -> Manifest {
        Manifest::new(JobId::new("j").unwrap(), 1, Parameters::default(), NOW)
    }

    fn claimant(id: &str) -> Claimant {
        Claimant { claim_id: id.to_owned(), worker_id: format!("worker {id}"), host: None }
    }

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
        }
    }

    #[test]
    fn the_good_way() {
        let owned = written(claim(&waiting(), &claimant("a"), Seen::Waiting, NOW));
        assert_eq!((owned.status, owned.attempt), (Status::Processing, 1));
        assert_eq!(claim(&owned, &claimant("a"), Seen::Waiting, NOW), Decision::Already);
        let progress = Heartbeat { stage: "tracking".into(), current: 7, ..Heartbeat::default() };
        let beaten = written(beat(&owned, "a", &progress, NOW));
        assert_eq!((beaten.heartbeat.as_ref().unwrap().seq, beaten.frames_processed), (1, Some(7)));
        let completed = written(complete(&beaten, "a", &results(), 9, NOW));
        assert_eq!(complete(&completed, "a", &results(), 9, NOW), Decision::Already);
        let done = written(imported(&completed, NOW));
        assert_eq!(imported(&done, NOW), Decision::Already);
        // Asked again after somebody imported it, the former owner still learns that it is done.
        assert_eq!(complete(&done, "a", &results(), 9, NOW), Decision::Already);
    }

    #[test]
    fn nobody_else_can_do_anything_with_an_owned_job() {
        let owned = written(claim(&waiting(), &claimant("a"), Seen::Waiting, NOW));
        let refused = |d: Decision| assert!(matches!(d, Decision::Refuse(_)), "{d:?}");
        refused(claim(&owned, &claimant("b"), Seen::Waiting, NOW));
        refused(beat(&owned, "b", &Heartbeat::default(), NOW));
        refused(complete(&owned, "b", &results(), 1, NOW));
        refused(fail(&owned, "b", "x", false, NOW));
        refused(release(&owned, "b", "x", NOW));
        refused(imported(&owned, NOW));
    }

    #[test]
    fn three_dead_attempts_fail_the_job_with_the_last_reason() {
        let mut job = written(claim(&waiting(), &claimant("a"), Seen::Waiting, NOW));
        for id in ["b", "c"] {
            job = written(claim(&job, &claimant(id), Seen::Abandoned, NOW));
            assert_eq!(job.status, Status::Processing);
        }
        assert_eq!((job.attempt, job.failures), (3, 2));
        job = written(claim(&job, &claimant("d"), Seen::Abandoned, NOW));
        assert_eq!((job.status, job.attempt), (Status::Failed, 3));
        assert_eq!(job.error.as_deref(), Some("attempt 3: worker c stopped answering"));
        let job = written(retry(&job, NOW));
        assert_eq!((job.status, job.failures, job.attempt), (Status::Pending, 0, 3));
        assert_eq!(written(claim(&job, &claimant("e"), Seen::Waiting, NOW)).attempt, 4);
    }

    #[test]
    fn a_released_attempt_counts_as_none() {
        let mut job = waiting();
        for i in 0..9 {
            job = written(claim(&job, &claimant("a"), Seen::Waiting, NOW));
            job = written(release(&job, "a", "stopped", NOW));
            assert_eq!((job.status, job.failures, job.attempt), (Status::Pending, 0, i + 1));
        }
    }

    #[test]
    fn what_cannot_be_mended_fails_at_once_and_can_be_retried_thrice() {
        let owned = written(claim(&waiting(), &claimant("a"), Seen::Waiting, NOW));
        let failed = written(fail(&owned, "a", "the video is damaged", true, NOW));
        assert_eq!(failed.status, Status::Failed);
        let again = written(retry(&failed, NOW));
        assert_eq!((again.status, again.failures), (Status::Pending, 0));
    }

    #[test]
    fn a_finished_job_is_never_revived() {
        let owned = written(claim(&waiting(), &claimant("a"), Seen::Waiting, NOW));
        let completed = written(complete(&owned, "a", &results(), 9, NOW));
        for job in [completed.clone(), written(imported(&completed, NOW))] {
            for decision in [
                claim(&job, &claimant("b"), Seen::Waiting, NOW),
                claim(&job, &claimant("b"), Seen::Abandoned, NOW),
                beat(&job, "a", &Heartbeat::default(), NOW),
                fail(&job, "a", "x", true, NOW),
                release(&job, "a", "x", NOW),
                cancel(&job, NOW),
                retry(&job, NOW),
            ] {
                assert!(matches!(decision, Decision::Refuse(_)), "{decision:?}");
            }
        }
    }
}
