//! Read frames from a video file and write annotated copies.
//!
//! All decoding and encoding happens in `ffprobe` and `ffmpeg` child processes, so a decoder that
//! crashes, hangs or is exploited takes down a sandboxed child and never the caller. The crate
//! guarantees:
//!
//! * **Frame numbers are exact.** A frame's number is its 0-based ordinal in the source, whatever
//!   the container, the sampling interval and the first frame read. It is the rank of the frame's
//!   timestamp among the packet timestamps of the file, which [`Video::open`] reads once.
//! * **Input is untrusted.** The decoding child can read that file and the system's libraries and
//!   nothing else. Formats that can reference other files or addresses are refused. [`Limits`]
//!   bounds image size, frame count, memory and time without progress.
//! * **Memory is bounded** by [`DecodeOptions::read_ahead`] frames, whatever the length.
//! * **Calls block.** There is no async runtime. Decoding threads end with the iterator they feed.
//!
//! [`GrowingFile`] reads an MP4 that is still being downloaded.
//!
//! The crate does not depend on models, buckets or databases.
//!
//! ```no_run
//! use video::{DecodeOptions, Limits, Tools, Video};
//!
//! let tools = Tools::find()?;
//! let video = Video::open(&tools, "game.mp4".as_ref(), &Limits::default())?;
//! let mut frames = video.frames(&DecodeOptions { every: 5, ..DecodeOptions::default() })?;
//! for frame in &mut frames {
//!     let frame = frame?;
//!     println!("frame {} at {:.3} s: {} bytes", frame.frame_idx, frame.time_s, frame.rgb.len());
//! }
//! println!("{} of {} frames", frames.damage().decoded, frames.damage().expected);
//! # Ok::<(), video::VideoError>(())
//! ```

mod annotate;
mod args;
mod child_log;
mod clock;
mod container;
mod damage;
mod decode;
mod error;
mod ffprobe;
mod fields;
mod frames;
mod growing_file;
mod header;
mod index;
mod keyframe;
mod limits;
mod lines;
mod options;
mod process;
mod sandbox;
mod scan;
mod tools;
mod video;

pub use annotate::{Overlay, annotate};
pub use damage::Damage;
pub use error::VideoError;
pub use frames::{Canceller, Frame, Frames};
pub use growing_file::GrowingFile;
pub use limits::Limits;
pub use options::DecodeOptions;
pub use tools::Tools;
pub use video::Video;
