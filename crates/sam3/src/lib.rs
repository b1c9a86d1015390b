//! SAM3 video in Rust: text-prompted detection, segmentation and tracking, exact, streaming and bounded in
//! memory.
//!
//! A native implementation of Hugging Face's `Sam3VideoModel` (transformers 5.23). [`Model`] is a loaded
//! checkpoint, immutable and shared; [`Session`] is one video: push frames, take tracks.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use sam3::{Device, Frame, Mode, Model, Session, SessionOptions, Precision};
//! # fn main() -> sam3::Result<()> {
//! let model = Arc::new(Model::load("/models/sam3".as_ref(), Precision::F32, &Device::Cpu)?);
//! let options = SessionOptions::new(Mode::Offline { n_frames: 1000 }, (1080, 1920));
//! let mut session = Session::new(model, &["basketball player"], options)?;
//! # let frames: Vec<Vec<u8>> = Vec::new();
//! for rgb in frames {
//!     for output in session.push(Frame::Rgb(&rgb))? {
//!         for object in output.objects {
//!             println!("{} {} {:?}", output.frame_idx, object.id, object.bbox);
//!         }
//!     }
//! }
//! let rest = session.finish();
//! # Ok(()) }
//! ```
//!
//! This crate knows tensors and plain structs. It knows no video files, buckets, databases or result
//! formats, and no path but "a folder with a checkpoint".

pub mod bench;
mod config;
mod detector;
pub mod device;
mod error;
mod fnv;
mod footprint;
mod mask;
mod model;
mod nn;
mod ops;
#[cfg(test)]
mod parity;
mod position;
mod preprocess;
mod session;
mod tokenizer;
mod trace;
mod tracker;
mod vision_batch;
mod weights;

pub use candle_core::{Device, Tensor};
pub use config::{
    DetectorConfig, DetrDecoderConfig, DetrEncoderConfig, MaskDecoderConfig, PromptEncoderConfig,
    RopeParameters, SamHeadConfig, TextConfig, TrackerConfig, ViTConfig, VideoConfig, VisionConfig,
};
pub use error::{Error, Result};
pub use footprint::Footprint;
pub use model::{Model, Precision};
pub use session::{
    Compat, Concession, DEFAULT_RETIRE_AFTER, Frame, FrameOutput, LowResMask, Mask, Mode, Prepared, Session,
    SessionOptions, TrackedObject,
};
