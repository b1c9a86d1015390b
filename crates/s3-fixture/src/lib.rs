//! S3 servers for tests, and nothing that the product links.
//!
//! [`FakeR2`] is a server in this process that follows the rules Cloudflare documents for R2, those that other
//! servers do not have included, and that fails on demand in all the ways a network does. [`RealServer`] is a server
//! that others wrote, as child processes: it says whether a client speaks S3 or merely what the fake understands.
//!
//! As in any test, trouble of the fixture itself is a panic that says what to do.

mod connection;
mod fake;
mod real;

pub use connection::Connection;
pub use fake::{
    Access, Call, Class, ConditionalWrites, Counts, Entry, FakeR2, FakeR2Options, Fault, Gate, Object, Op,
    RandomFaults,
};
pub use real::{RealServer, ServerKind, radosgw_is_installed};
