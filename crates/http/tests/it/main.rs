//! Tests of the complete HTTP server with a real library and bucket: each sends requests and checks the
//! responses.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod authorization;
mod connections;
mod detections;
mod events;
mod fake_worker;
mod imports;
mod job_uploads;
mod jobs;
mod metrics;
mod openapi;
mod shared_buckets;
mod stream;
mod test_server;
mod video_uploads;
mod videos;
