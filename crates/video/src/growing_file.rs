//! An MP4 file that is still being downloaded: how many of its frames can already be decoded.
//!
//! An MP4 keeps its tables in one block, at its beginning or its end. Once that block and the beginning of the file
//! are present, the timestamp, position and size of every packet are known, even if most packets are still missing.
//! A frame can be decoded when all packets up to a few dozen frames after it are present. Other containers describe
//! each packet next to its data, so this does not work for them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::index::PacketEnds;
use crate::limits::Limits;
use crate::tools::Tools;
use crate::video::Video;

/// Frames after a frame that must be present to decode it: more than a threaded decoder reads ahead, including
/// reordering.
const LOOK_AHEAD: usize = 64;

/// A video whose file is still being downloaded. The file must have its final length, and missing bytes must read as
/// zeros.
#[derive(Debug)]
pub struct GrowingFile {
    video: Video,
    /// For each frame, the length of the prefix of the file that it and all earlier frames need.
    required_bytes: Vec<u64>,
}

impl GrowingFile {
    /// Reads the tables of an MP4 file, for a stream as of [`Video::open_with`]. Returns `None` for other formats, while the tables are incomplete,
    /// and for files whose frames are only known once they are decoded.
    pub fn open(tools: &Tools, path: &Path, stream: Option<u32>, limits: &Limits) -> Option<GrowingFile> {
        if !is_mp4(path) {
            return None;
        }
        let mut ends = PacketEnds::default();
        match Video::open_growing(tools, path, stream, limits, &mut ends) {
            Ok(video) => {
                let video = video?;
                let required_bytes = required_bytes(&video, ends);
                Some(GrowingFile { video, required_bytes })
            }
            Err(error) => {
                tracing::debug!(%error, "the tables of the video are not readable yet");
                None
            }
        }
    }

    /// The video as its tables describe it. Damage in the packets is not known yet.
    pub fn video(&self) -> &Video {
        &self.video
    }

    /// How many frames, from the first, can be decoded when the first `n_bytes` bytes are present.
    pub fn n_frames_within(&self, n_bytes: u64) -> u64 {
        self.required_bytes.partition_point(|&required| required <= n_bytes) as u64
    }

    /// Whether the complete file contains the same frames as the tables declared.
    pub fn matches(&self, complete: &Video) -> bool {
        let (growing, complete) = (&self.video.inner, &complete.inner);
        let same_size = growing.header.size() == complete.header.size();
        same_size && growing.index.same_frames(&complete.index) && growing.clock == complete.clock
    }
}

fn required_bytes(video: &Video, mut ends: PacketEnds) -> Vec<u64> {
    ends.sort_unstable();
    let n_frames = video.n_frames();
    let mut packets = ends.into_iter().peekable();
    let mut required = 0;
    let mut required_bytes = Vec::with_capacity(n_frames as usize);
    for frame_idx in 0..n_frames {
        let last = (frame_idx + LOOK_AHEAD as u64).min(n_frames - 1);
        let until = video.inner.index.pts(last).unwrap_or(i64::MAX);
        while let Some((_, end)) = packets.next_if(|&(pts, _)| pts <= until) {
            required = required.max(end);
        }
        required_bytes.push(required);
    }
    required_bytes
}

/// Whether a file begins like an MP4 or QuickTime file (ISO/IEC 14496-12 §4.3).
fn is_mp4(path: &Path) -> bool {
    let mut start = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start.ends_with(b"ftyp")
}
