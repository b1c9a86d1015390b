//! The HTTP interface as a whole, on a real library and bucket: requests go in, answers come out.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod detections;
mod documented;
mod events;
mod guarded;
mod imports;
mod jobs;
mod player;
mod site;
mod uploads;
mod videos;
mod worker;
