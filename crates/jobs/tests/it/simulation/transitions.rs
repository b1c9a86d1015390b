//! Which register may follow on which, by whose hand, and when. Written down a second time, apart from the
//! crate's own transitions, from what the protocol promises.

use std::time::Duration;

use jobs::manifest::{Manifest, Status};

use super::desk::Role;

/// One register written over another.
pub(super) struct Step<'a> {
    pub(super) old: &'a Manifest,
    pub(super) new: &'a Manifest,
    pub(super) role: Role,
    /// Whether the old register's claim was made by the process that writes.
    pub(super) is_owner: bool,
    /// Whether the owner said that there is no hope.
    pub(super) no_hope: bool,
    /// How long the owner has given no sign of life.
    pub(super) silence: Duration,
    /// How long it may.
    pub(super) lease: Duration,
}

/// What a step means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Claim,
    Sign,
    Takeover,
    LastAttemptLost,
    Failure,
    Release,
    Completion,
    Cancellation,
    Retry,
    Import,
}

impl Meaning {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claim => "a job was claimed",
            Self::Sign => "an owner gave a sign of life",
            Self::Takeover => "a job was taken over",
            Self::LastAttemptLost => "the last attempt was lost",
            Self::Failure => "an attempt failed",
            Self::Release => "a job was given back",
            Self::Completion => "a job was completed",
            Self::Cancellation => "a job was cancelled",
            Self::Retry => "a job was retried",
            Self::Import => "a job was imported",
        }
    }
}

/// Says what the step means, or what is wrong with it.
pub(super) fn meaning(step: &Step<'_>) -> Result<Meaning, String> {
    let Step { old, new, .. } = step;
    unchanged(old, new)?;
    let meaning = guess(step)?;
    let must = |holds: bool, what: &str| match holds {
        true => Ok(()),
        false => Err(format!("{meaning:?} of {}, but {what}", old.job_id)),
    };
    let (role, new_claim) = match meaning {
        Meaning::Claim | Meaning::Takeover => (Role::Worker, true),
        Meaning::Cancellation | Meaning::Retry => (Role::Person, false),
        Meaning::Import => (Role::Importer, false),
        _ => (Role::Worker, false),
    };
    must(step.role == role, "that is not the writer's to do")?;
    must(new.attempt == old.attempt + u32::from(new_claim), "the attempt is not the next one")?;
    must(new.failures <= new.max_attempts, "there are more failures than allowed")?;
    let is_takeover = matches!(meaning, Meaning::Takeover | Meaning::LastAttemptLost);
    must(!is_takeover || step.silence >= step.lease, "its owner spoke a while ago")?;
    let by_owner =
        matches!(meaning, Meaning::Sign | Meaning::Failure | Meaning::Release | Meaning::Completion);
    must(!by_owner || step.is_owner, "the writer does not own it")?;
    let (failures, is_last) = match meaning {
        Meaning::Takeover => (old.failures + 1, false),
        Meaning::LastAttemptLost => (old.failures + 1, true),
        Meaning::Failure => (old.failures + 1, new.status == Status::Failed),
        Meaning::Retry => (0, false),
        _ => (old.failures, false),
    };
    must(new.failures == failures, "the failures are miscounted")?;
    let counts = matches!(meaning, Meaning::Takeover | Meaning::LastAttemptLost | Meaning::Failure);
    let is_spent = failures >= new.max_attempts || (step.is_owner && step.no_hope);
    must(!counts || is_spent == is_last, "it ends too early or too late")?;
    let keeps_result = meaning != Meaning::Import || new.result == old.result;
    must(keeps_result, "the results are others")?;
    must((meaning == Meaning::Completion) <= new.result.is_some(), "no results are named")?;
    Ok(meaning)
}

/// What nobody may change.
fn unchanged(old: &Manifest, new: &Manifest) -> Result<(), String> {
    let same = [
        ("job_id", old.job_id == new.job_id),
        ("video_id", old.video_id == new.video_id),
        ("created_at", old.created_at == new.created_at),
        ("parameters", old.parameters == new.parameters),
        ("video", old.video == new.video),
        ("max_attempts", old.max_attempts == new.max_attempts),
        ("fields of others", old.rest == new.rest),
        ("the count of writes", old.rev + 1 == new.rev),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(format!("a write to {} changes {what}", old.job_id)),
        None => Ok(()),
    }
}

fn guess(step: &Step<'_>) -> Result<Meaning, String> {
    use Status::{Cancelled, Completed, Failed, Imported, Pending, Processing};
    let Step { old, new, is_owner, .. } = step;
    let same_claim = new.claim.as_ref().map(|claim| &claim.id) == old.claim.as_ref().map(|claim| &claim.id);
    Ok(match (old.status, new.status) {
        (Pending, Processing) => Meaning::Claim,
        (Processing, Processing) if same_claim => Meaning::Sign,
        (Processing, Processing) => Meaning::Takeover,
        (Processing, Failed) if *is_owner => Meaning::Failure,
        (Processing, Failed) => Meaning::LastAttemptLost,
        (Processing, Pending) if new.failures == old.failures => Meaning::Release,
        (Processing, Pending) => Meaning::Failure,
        (Processing, Completed) => Meaning::Completion,
        (Pending | Processing, Cancelled) => Meaning::Cancellation,
        (Failed | Cancelled, Pending) => Meaning::Retry,
        (Completed, Imported) => Meaning::Import,
        (from, to) => return Err(format!("{} goes from {from} to {to}", old.job_id)),
    })
}
