//! A fake RunPod and a fake Vast for tests: a real HTTP server on loopback with the parts of both APIs that Courtside
//! uses. It checks request bodies against the schemas in `fixtures/providers/`, and fails on demand.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a fixture panics where a test would")]

mod faults;
mod runpod;
mod schema;
mod server;
mod state;
mod vast;

pub use faults::Fault;
pub use server::FakeProviders;
pub use state::{Gpu, Request, Rights, State};
