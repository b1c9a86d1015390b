//! The bucket and its protocol.
//!
//! A bucket is the only thing that the parties share: whoever submits, the workers, whoever imports. It holds
//! videos, results, checkpoints, and for each job one small JSON object, the *register* `jobs/{job_id}.json`,
//! which is the truth about that job. There is no server and no database between the parties.
//!
//! # Who may write what
//!
//! | key | written by | how |
//! |---|---|---|
//! | `videos/{job_id}.{ext}` | the submitter | before the register exists; never changed |
//! | `jobs/{job_id}.json` | everybody | every write is conditional on the version that was read |
//! | `status/{job_id}.json` | the owner of the job | unconditional; advice for people and pollers |
//! | `checkpoints/{job_id}/…` | the owner | under names that no other attempt uses; the register points at one |
//! | `results/{job_id}.json` | the owner | conditional on the version seen before ownership was proved |
//! | `logs/{job_id}/…` | the owner | unconditional, one object for each attempt |
//! | `index/jobs.json` | anybody | unconditional; a cache of finished registers, valid where versions agree |
//! | `probe/…` | a starting worker | throw-away objects |
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
//! `completed` and `imported` are never left for an earlier state; `failed` and `cancelled` only by `retry`.
//! The transitions are pure functions in [`protocol`]; nothing else changes a register.
//!
//! # The register
//!
//! Every write carries a fresh `write_id` and `rev + 1`, and is conditional on the entity tag (ETag, RFC 9110
//! §8.8.3) that was read. So two writers never overwrite each other, and equal content never has an equal tag
//! twice. A refused write (412) may be the echo of one's own earlier attempt, and a failed one may have
//! happened: both are settled by reading back and looking for one's own `write_id`. Fields that this program
//! does not know are kept.
//!
//! # Claim, lease, heartbeat
//!
//! A claim is one conditional write `pending → processing` with a random `claim.id` and `attempt + 1`:
//! whoever's is in owns the job, exactly one. The owner writes a heartbeat every 30 s ([`Timing::heartbeat`]).
//! Nobody's clock is compared with anybody else's: an observer takes a job for abandoned when its register
//! did not change for 180 s ([`Timing::lease`]) of the observer's own monotonic time, and only then claims
//! it, again by one conditional write on exactly the version it has watched. An observer looks at least every
//! 35 s, and every 20 s while any job is processing, so that a dead worker's job is taken over within four
//! minutes.
//!
//! A job claimed by a program that knows nothing of leases has no `claim`. Its worker may write nothing at
//! all for a long time: such a job is given up only when neither register nor status object changed for 30
//! minutes ([`Timing::foreign_lease`]).
//!
//! # Fencing
//!
//! An owner that was paused or cut off may have lost its job without knowing it. Whatever it writes that
//! counts is guarded: the register by its entity tag (its claim is no longer in, so the transition refuses),
//! checkpoints by names that contain attempt and claim, and results by this order ([`Lease::publish`]):
//!
//! 1. read the entity tag *e* of `results/{job_id}.json` (or that there is none);
//! 2. write a heartbeat: this proves ownership *after* *e* was read;
//! 3. write the results on condition of *e*;
//! 4. complete the register, naming size, SHA-256, count and tag of the results.
//!
//! Results carry the claim that made them, so that no two attempts' are equal: any later attempt's results
//! change *e*, and a stale writer's step 3 is refused. To lose a lease is no
//! error: the worker stops, deletes nothing, and looks for other work.
//!
//! # What happens when a party dies
//!
//! | between | what is left | who mends it |
//! |---|---|---|
//! | parts of an upload | an unfinished upload, a journal on the submitter's disk | the next `submit` goes on; the bucket drops it after days |
//! | video and register | a video without a job | the next `submit` goes on with the same job id |
//! | claim and first heartbeat | an owner that does not speak | another worker, when the lease ran out |
//! | checkpoint and register | a checkpoint nobody points at | removed when the job is finished |
//! | results and completion | results that the register does not name | the next attempt writes them again |
//! | completion and clean-up | checkpoints of a finished job | the importer removes them |
//! | completion and import | a completed job | the importer |
//! | the database's commit and `imported` | a completed job that is in the database | the next import finds it there and only writes `imported` |
//!
//! # Attempts
//!
//! An attempt that died or failed counts in `failures`; after `max_attempts` (3) of them the job is `failed`
//! with the last reason. One that was released (the worker was told to stop) does not count. `attempt` only
//! grows: it is the fencing token.

pub mod admin;
pub mod bucket;
pub mod catalog;
mod error;
pub mod host;
mod index;
pub mod keys;
pub mod lease;
pub mod manifest;
pub mod probe;
pub mod protocol;
pub mod queue;
mod register;
pub mod results;
pub mod status;
mod timestamp;
pub mod timing;
pub mod transfer;

pub use error::{Error, Result};
pub use keys::JobId;
pub use lease::Lease;
pub use manifest::{Manifest, Status};
pub use timing::Timing;
