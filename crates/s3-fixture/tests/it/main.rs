//! Tests of the fixture itself: the fake's guarantees, checked with the S3 client that the product uses, and
//! the start of the third-party servers.

#![expect(clippy::unwrap_used, reason = "test helpers fail by panicking, like the tests themselves")]

mod faults;
mod multipart;
mod objects;
mod process;
mod real;
mod support;
