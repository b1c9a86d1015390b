//! The engine against reference outputs, and its promises as properties.

#![expect(clippy::unwrap_used, reason = "clippy knows tests by their attribute, not their helpers")]

mod checkpoint;
mod fixture;
mod kernels;
mod loading;
mod parity;
mod properties;
mod saving;
mod steady;
