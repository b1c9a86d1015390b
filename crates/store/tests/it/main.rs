//! Integration tests on library files.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, like the tests themselves")]

mod app;
mod app_changes;
mod beside_the_app;
mod concurrency;
mod crash;
mod edits;
mod existing;
mod fresh;
mod importing;
mod jobs;
mod looking;
mod many_ranges;
mod opening;
mod properties;
mod queries;
mod submissions;
mod support;
mod version_1;
mod writers;
