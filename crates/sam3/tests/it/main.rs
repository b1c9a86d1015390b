//! Tests of the engine: comparison with reference outputs, and properties of every run.

#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod checkpoint;
mod fixture;
mod kernels;
mod loading;
mod parity;
mod properties;
mod saving;
mod steady;
