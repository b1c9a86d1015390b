//! What the tests share: a host whose clock they set, buckets of every kind, and the parties to a job.

mod buckets;
mod host;
mod parties;

pub(crate) use buckets::{Fresh, fake, remote, settings};
pub(crate) use host::TestHost;
pub(crate) use parties::{Party, id, ignore, manifest, progress, publish, random_file};
