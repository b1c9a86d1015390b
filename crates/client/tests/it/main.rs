//! Tests that compare the workspace with its documentation.

#![expect(clippy::unwrap_used, reason = "test helpers panic on failure, as tests do")]

mod boundaries;
mod configuration;
mod sources;
