//! SAM3 video in Rust: text-prompted detection, segmentation and tracking, frame by frame and in bounded memory.
//!
//! A native implementation of Hugging Face's `Sam3VideoModel` (transformers 5.23). [`Model`] is a loaded model,
//! immutable and shared; a [`Session`] tracks one video: push frames, get tracks.
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
//! The API consists of tensors and plain structs. The crate does not depend on video files, buckets, databases or
//! result formats, and the only path that it takes is that of a model folder.

pub mod bench;
mod detector;
pub mod device;
mod device_memory;
mod error;
mod fnv;
mod footprint;
mod mask;
mod model;
mod model_files;
mod nn;
mod ops;
mod options;
#[cfg(test)]
mod parity;
mod position;
mod precision;
mod preprocess;
mod session;
mod tokenizer;
mod trace;
mod tracker;
mod vision;

pub use candle_core::{Device, Tensor};
pub use error::{Error, Result};
pub use footprint::Footprint;
pub use model::Model;
pub use model_files::config::{
    DetectorConfig, DetrDecoderConfig, DetrEncoderConfig, MaskDecoderConfig, PromptEncoderConfig,
    RopeParameters, SamHeadConfig, TextConfig, TrackerConfig, ViTConfig, VideoConfig, VisionConfig,
};
pub use options::{Compat, DEFAULT_RETIRE_AFTER, Mode, SessionOptions};
pub use precision::Precision;
pub use session::{Frame, FrameOutput, LowResMask, Mask, MemoryFallback, Prepared, Session, TrackedObject};
