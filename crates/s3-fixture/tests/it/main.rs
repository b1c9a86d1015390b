//! The fixture's own tests: what the fake promises, seen by the S3 client that the product uses, and that the real
//! servers come up.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod faults;
mod multipart;
mod objects;
mod process;
mod real;
mod support;
