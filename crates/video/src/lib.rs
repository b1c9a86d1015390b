//! Frames out of a video file and pictures into one.
//!
//! Everything is done by `ffprobe` and `ffmpeg` child processes: a decoder that crashes, hangs or
//! is exploited takes a confined child with it and never the caller. What the crate promises:
//!
//! * **Frame numbers are exact.** A frame's number is its 0-based ordinal in the source, whatever
//!   the container, however the frames are sampled and wherever reading starts. It is the rank of
//!   the frame's timestamp among the timestamps of the file's packets, read once by [`Video::open`].
//! * **Input is not trusted.** A file is decoded by a child that may read that file and the
//!   system's libraries and nothing else; formats that can name other files or addresses are
//!   refused; size, frame count, memory and silence are limited by [`Limits`].
//! * **Memory is bounded** by [`DecodeOptions::read_ahead`] pictures, whatever the length.
//! * **Blocking.** No async runtime; threads live as long as the iterator they feed.
//!
//! An MP4 that is still being written to disk can be read along: see [`Arriving`].
//!
//! It knows nothing of models, buckets or databases.
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
mod arriving;
mod decode;
mod draw;
mod encoder;
mod error;
mod font;
mod frames;
mod header;
mod index;
mod limits;
mod matroska;
mod partial;
mod pass;
mod process;
mod sandbox;
mod side;
mod sound;
mod tools;
mod video;

pub use annotate::annotate;
pub use arriving::Arriving;
pub use draw::Overlay;
pub use error::VideoError;
pub use frames::{Damage, DecodeOptions, Frame, Frames};
pub use limits::Limits;
pub use tools::Tools;
pub use video::Video;
