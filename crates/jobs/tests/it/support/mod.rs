//! Shared test helpers: a controllable environment, buckets of every kind, and the parties to a job.

mod buckets;
mod env;
mod parties;

pub(crate) use buckets::{Fresh, fake, remote, settings};
pub(crate) use env::TestEnv;
pub(crate) use parties::{Party, id, ignore, manifest, progress, publish, random_file};
