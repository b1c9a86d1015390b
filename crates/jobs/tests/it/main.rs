//! Integration tests.
//!
//! `conformance` runs on every kind of bucket there is; the rest needs a server that fails on demand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod access;
mod conformance;
mod cost;
mod faults;
mod listing;
mod results;
mod simulation;
mod support;
mod transfer;
