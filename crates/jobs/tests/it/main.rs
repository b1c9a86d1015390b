//! Integration tests of the protocol.
//!
//! `conformance` runs on every kind of bucket; most of the other tests need a server that fails on demand.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, like the tests themselves")]

mod access;
mod conformance;
mod cost;
mod faults;
mod listing;
mod responses;
mod results;
mod simulation;
mod support;
mod sweep;
mod takeover_by_age;
mod transfer;
