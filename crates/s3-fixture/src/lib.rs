//! S3 servers for tests. Courtside itself does not link this crate.
//!
//! [`FakeR2`] is an in-process server that follows the rules that Cloudflare documents for R2, including
//! those that other servers do not have, and that fails on demand in all the ways a network does.
//! [`RealServer`] runs a third-party server as a child process: it verifies that a client speaks S3 and not
//! just what the fake understands.
//!
//! Errors of the fixture itself are panics with a message that says what to do.

mod connection;
mod fake;
mod real;

pub use connection::Connection;
pub use fake::{
    Access, Call, Class, ConditionalWrites, Counts, Entry, FakeR2, FakeR2Options, Fault, Gate, Object, Op,
    RandomFaults,
};
pub use real::{RealServer, ServerKind, radosgw_is_installed};
