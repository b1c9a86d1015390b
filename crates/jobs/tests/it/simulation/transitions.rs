//! Which manifest may follow which, written by whom, and when. This is an independent second formulation of
//! the protocol's rules; it does not use the crate's own transitions.

use std::time::Duration;

use jobs::manifest::{Manifest, Status};

use super::process_context::Role;

/// A manifest that replaces another.
pub(super) struct Step<'a> {
    pub(super) old: &'a Manifest,
    pub(super) new: &'a Manifest,
    pub(super) role: Role,
    /// Whether the writing process made the claim in the old manifest.
    pub(super) is_owner: bool,
    /// Whether the owner declared the failure to be final.
    pub(super) is_fatal: bool,
    /// How long the owner has not written anything.
    pub(super) unchanged_for: Duration,
    /// How long that may be.
    pub(super) lease: Duration,
}

/// The transition that a step represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    Claim,
    Heartbeat,
    Takeover,
    LastAttemptLost,
    Failure,
    Release,
    Completion,
    Cancellation,
    Retry,
    Import,
}

impl Transition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claim => "a job was claimed",
            Self::Heartbeat => "an owner sent a heartbeat",
            Self::Takeover => "a job was taken over",
            Self::LastAttemptLost => "the last attempt died",
            Self::Failure => "an attempt failed",
            Self::Release => "a job was released",
            Self::Completion => "a job was completed",
            Self::Cancellation => "a job was cancelled",
            Self::Retry => "a job was retried",
            Self::Import => "a job was imported",
        }
    }
}

/// Determines the transition, or what is wrong with the step.
pub(super) fn transition(step: &Step<'_>) -> Result<Transition, String> {
    let Step { old, new, .. } = step;
    unchanged(old, new)?;
    let transition = by_status(step)?;
    let must = |holds: bool, what: &str| match holds {
        true => Ok(()),
        false => Err(format!("{transition:?} of {}: {what}", old.job_id)),
    };
    let (role, new_claim) = match transition {
        Transition::Claim | Transition::Takeover => (Role::Worker, true),
        Transition::Cancellation | Transition::Retry => (Role::User, false),
        Transition::Import => (Role::Importer, false),
        _ => (Role::Worker, false),
    };
    must(step.role == role, "the writer's role does not allow it")?;
    must(new.attempt == old.attempt + u32::from(new_claim), "the attempt number is not the next one")?;
    must(new.failures <= new.max_attempts, "there are more failures than allowed")?;
    let is_takeover = matches!(transition, Transition::Takeover | Transition::LastAttemptLost);
    must(!is_takeover || step.unchanged_for >= step.lease, "its owner sent a heartbeat recently")?;
    let by_owner = matches!(
        transition,
        Transition::Heartbeat | Transition::Failure | Transition::Release | Transition::Completion
    );
    must(!by_owner || step.is_owner, "the writer does not own it")?;
    let (failures, is_last) = match transition {
        Transition::Takeover => (old.failures + 1, false),
        Transition::LastAttemptLost => (old.failures + 1, true),
        Transition::Failure => (old.failures + 1, new.status == Status::Failed),
        Transition::Retry => (0, false),
        _ => (old.failures, false),
    };
    must(new.failures == failures, "the number of failures is wrong")?;
    let counts =
        matches!(transition, Transition::Takeover | Transition::LastAttemptLost | Transition::Failure);
    let is_spent = failures >= new.max_attempts || (step.is_owner && step.is_fatal);
    must(!counts || is_spent == is_last, "the job fails too early or too late")?;
    let keeps_result = transition != Transition::Import || new.result == old.result;
    must(keeps_result, "the results changed")?;
    must((transition == Transition::Completion) <= new.result.is_some(), "no results are named")?;
    Ok(transition)
}

/// Checks the fields that no transition may change.
fn unchanged(old: &Manifest, new: &Manifest) -> Result<(), String> {
    let same = [
        ("job_id", old.job_id == new.job_id),
        ("video_id", old.video_id == new.video_id),
        ("created_at", old.created_at == new.created_at),
        ("parameters", old.parameters == new.parameters),
        ("video", old.video == new.video),
        ("max_attempts", old.max_attempts == new.max_attempts),
        ("unknown fields", old.rest == new.rest),
        ("the number of writes", old.rev + 1 == new.rev),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(format!("a write to {} changes {what}", old.job_id)),
        None => Ok(()),
    }
}

fn by_status(step: &Step<'_>) -> Result<Transition, String> {
    use Status::{Cancelled, Completed, Failed, Imported, Pending, Processing};
    let Step { old, new, is_owner, .. } = step;
    let same_claim = new.claim.as_ref().map(|claim| &claim.id) == old.claim.as_ref().map(|claim| &claim.id);
    Ok(match (old.status, new.status) {
        (Pending, Processing) => Transition::Claim,
        (Processing, Processing) if same_claim => Transition::Heartbeat,
        (Processing, Processing) => Transition::Takeover,
        (Processing, Failed) if *is_owner => Transition::Failure,
        (Processing, Failed) => Transition::LastAttemptLost,
        (Processing, Pending) if new.failures == old.failures => Transition::Release,
        (Processing, Pending) => Transition::Failure,
        (Processing, Completed) => Transition::Completion,
        (Pending | Processing, Cancelled) => Transition::Cancellation,
        (Failed | Cancelled, Pending) => Transition::Retry,
        (Completed, Imported) => Transition::Import,
        (from, to) => return Err(format!("{} goes from {from} to {to}", old.job_id)),
    })
}
