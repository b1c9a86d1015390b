//! Health and metrics of the server.

pub(crate) mod counters;
pub(crate) mod health;
pub(crate) mod metrics;
