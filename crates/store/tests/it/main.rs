//! Integration tests: libraries in files, as their users open them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod app;
mod concurrency;
mod crash;
mod existing;
mod fresh;
mod importing;
mod jobs;
mod opening;
mod properties;
mod queries;
mod support;
