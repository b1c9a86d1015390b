//! The bucket and its protocol.
//!
//! A bucket is all that the parties share: the client that submits a job, the workers, and the client that
//! imports the results. It holds videos, results, checkpoints, and, for each job, one small JSON object: the
//! *manifest* `jobs/{job_id}.json`, which is the single source of truth about that job. There is no server
//! and no database between the parties.
//!
//! # Who may write what
//!
//! | key | written by | how |
//! |---|---|---|
//! | `videos/{job_id}.{ext}` | the submitter | before the manifest exists; never changed; other jobs may use it |
//! | `jobs/{job_id}.json` | every party | conditional on the version that was read |
//! | `status/{job_id}.json` | the job's owner | unconditional; advisory progress for pollers |
//! | `checkpoints/{job_id}/…` | the owner | under names that no other attempt uses; the manifest points at one |
//! | `results/{job_id}.json` | the owner | conditional on the version read before ownership was confirmed |
//! | `logs/{job_id}/…` | the owner | unconditional, one object per attempt |
//! | `index/…` | any party | unconditional; a cache of finished manifests, used only where revisions match |
//! | `archive/jobs/{job_id}.json` | a sweep | conditional; the manifest of a job that was imported a week ago |
//! | `probe/…` | a starting worker | temporary objects |
//!
//! # States
//!
//! ```text
//!             submit             claim                complete            import
//!   (nothing) ──────► pending ─────────► processing ─────────► completed ────────► imported
//!                      ▲  ▲ │  release, or a │ │ cancel, or the
//!                retry │  │ │  failed attempt│ │ last attempt failed
//!                      │  └─┼────────────────┘ ▼
//!                      │    └─────────────► cancelled, failed
//!                      └──────────────────────┘
//! ```
//!
//! A job leaves `completed` for `imported`, or for `pending` when a user retries it because its results cannot be used.
//! It never leaves `imported`. It leaves `failed` and `cancelled` only by `retry`. The transitions are pure functions in [`protocol`]; nothing else changes a
//! manifest.
//!
//! # The manifest
//!
//! Every write carries a fresh `write_id` and `rev + 1`, and is conditional on the entity tag (ETag, RFC 9110
//! §8.8.3) that was read. Two writers therefore never overwrite each other, and no two versions share a tag.
//! A refused write (412) may be the echo of an earlier try whose response was lost, and a failed write may
//! have taken effect. Both cases are resolved by reading the manifest back and looking for the write's own
//! `write_id`. Fields that this program does not know are preserved.
//!
//! # Claim, lease, heartbeat
//!
//! A claim is one conditional write `pending → processing` with a random `claim.id` and `attempt + 1`. Of
//! several concurrent claims exactly one succeeds, and its worker owns the job. The owner sends a heartbeat
//! every 30 s ([`Timing::heartbeat`]).
//!
//! Clocks of different machines are never compared. An observer considers a job abandoned when its manifest
//! has not changed for 180 s ([`Timing::lease`]) of the observer's own monotonic time. Only then does it
//! claim the job, again by one conditional write on exactly the version that it has been watching.
//! An observer that has just started adds the age of the manifest by the bucket's clock (its `Last-Modified` against its
//! `Date`), but watches for at least 45 s ([`Timing::least_watch`]): the bucket's clock could be wrong.
//!
//! How soon a dead owner's job is taken over follows from how often an idle worker polls. Its pause starts at
//! 10 s ([`Timing::poll`]) and grows to at most 20 s while any job is processing ([`Timing::poll_watching`])
//! and to at most 35 s otherwise ([`Timing::poll_idle`]); a `poll` above these limits overrides them. The
//! lease starts at the poll that first sees the owner's last write and is checked at each later poll. So with
//! the defaults an idle worker takes over within 35 + 180 + 20 s, less than four minutes after that last
//! write, plus the duration of the requests. In general it takes at most one poll interval, the lease, and
//! another poll interval, so 13 minutes with `CLOUD_WORKER_POLL_INTERVAL=300`.
//!
//! A job claimed by a program that does not use leases has no `claim`. Its worker may write nothing for a
//! long time, so such a job is considered abandoned only when neither its manifest nor its status object has
//! changed for 30 minutes ([`Timing::foreign_lease`]). Observers watch the status object only after the
//! manifest has been unchanged for [`Timing::lease`], and read it at most ten times per `foreign_lease`, so
//! the takeover can come several minutes later.
//!
//! # Fencing
//!
//! An owner that was paused or cut off may have lost its job without knowing it. Each of its writes that
//! matters is guarded: the manifest by its entity tag (the claim in it is no longer the owner's, so the
//! transition is refused), checkpoints by names that contain the attempt, and results by this order of steps
//! ([`Lease::publish`]):
//!
//! 1. read the entity tag *e* of `results/{job_id}.json`, or find that the object does not exist;
//! 2. send a heartbeat, which confirms ownership *after* *e* was read;
//! 3. write the results on condition of *e*;
//! 4. complete the manifest, naming size, SHA-256, count and tag of the results.
//!
//! Results contain the id of the claim that produced them, so no two attempts produce equal bytes. Results of
//! a later attempt therefore change *e*, and step 3 of a stale owner is refused. Losing a lease is not an
//! error: the worker stops, deletes nothing, and polls for other work.
//!
//! # What happens when a party dies
//!
//! | between | what is left | who recovers |
//! |---|---|---|
//! | parts of an upload | an unfinished upload, and a journal on the submitter's disk | the next `submit` resumes it; otherwise the bucket's lifecycle rule drops it after days |
//! | video and manifest | a video without a job | the next `submit` continues with the same job id |
//! | claim and first heartbeat | an owner that sends no heartbeats | another worker, when the lease expires |
//! | checkpoint and manifest | a checkpoint that no manifest points at | removed when the job is imported, at the latest |
//! | results and completion | results that the manifest does not name | the next attempt overwrites them |
//! | completion and clean-up | checkpoints of a completed job | the importer removes them, or a [`sweep`] |
//! | completion and import | a completed job | the importer |
//! | database commit and `imported` | a completed job whose results are in the database | the next import finds them there and only writes `imported` |
//!
//! # Finished jobs
//!
//! Older programs read one page of a listing of `jobs/`. So a [`sweep`] moves manifests that were imported a week ago to
//! `archive/jobs/`, and removes logs and checkpoints of that age that no job needs. An older importer removes the
//! manifest of the job that it imported: the library that submitted the job then closes it.
//!
//! # Attempts
//!
//! An attempt that died or failed counts in `failures`. After `max_attempts` failures (default 3, at most 100) the job is
//! `failed` with the last reason. A released attempt (the worker was asked to stop) does not count. `attempt`
//! only grows: it is the fencing token.

pub mod admin;
pub mod bucket;
pub mod catalog;
pub mod env;
mod error;
mod index;
pub mod keys;
pub mod lease;
pub mod machines;
pub mod manifest;
mod manifest_store;
pub mod probe;
pub mod protocol;
pub mod queue;
pub mod quote;
mod refusal;
pub mod results;
pub mod status;
pub mod sweep;
mod timestamp;
pub mod timing;
pub mod transfer;

pub use error::{Error, Remedy, Result};
pub use keys::JobId;
pub use lease::Lease;
pub use manifest::{Manifest, Status};
pub use refusal::Refusal;
pub use timing::Timing;
