//! Decoding: from a video and a selection of frames to raw frames in order.
//!
//! [`plan`] describes what to decode, [`stream`] owns the decoding thread, [`pass`] is one run of
//! ffmpeg, and [`pairing`] matches the frames that it writes with their timestamps.

mod command;
mod pairing;
mod pass;
pub(crate) mod plan;
pub(crate) mod side_channel;
pub(crate) mod state;
pub(crate) mod stream;
