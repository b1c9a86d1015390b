//! Routes about the detections of a video: the detections, their statistics, and their tracks.

pub(crate) mod list;
mod list_json;
pub(crate) mod remove;
pub(crate) mod scope;
pub(crate) mod stats;
pub(crate) mod tracks;
