//! Tests of the complete HTTP server with a real library and bucket: each sends requests and checks the
//! responses.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests themselves")]

mod authorization;
// The clips of the crate `video`, in which every frame shows its number.
#[path = "../../../video/tests/it/barcode.rs"]
#[expect(dead_code, reason = "not every rotation is needed here")]
mod barcode;
#[path = "../../../video/tests/it/clips.rs"]
#[expect(dead_code, reason = "only a part of the helpers is needed here")]
mod clips;
mod connections;
mod detections;
mod edits;
mod events;
mod exports;
mod fake_worker;
mod frames;
mod imports;
mod job_uploads;
mod jobs;
mod metrics;
mod openapi;
mod pages;
mod shared_buckets;
mod stream;
mod test_server;
mod thumbnails;
mod timestamps;
mod video_uploads;
mod videos;
