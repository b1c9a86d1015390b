//! The providers against fakes that fail in every way: after each failure, the machine is gone or the caller is told.

#![expect(clippy::unwrap_used, reason = "test helpers panic on failure, as tests do")]

mod fleet;
mod fortnight;
mod support;
mod terminate;
