//! Tests that compare the workspace with its documentation.

mod boundaries;
mod configuration;
mod sources;
