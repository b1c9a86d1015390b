//! The HTTP interface as a whole, on a real library and bucket: requests go in, answers come out.

mod detections;
mod documented;
mod events;
mod guarded;
mod imports;
mod jobs;
mod player;
mod process;
mod site;
mod uploads;
mod videos;
mod worker;
