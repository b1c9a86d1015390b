//! A file that is still arriving: which of its frames can be decoded from what is there.
//!
//! An MP4 keeps its tables in one place, at its beginning or its end. Once that place and the beginning are there,
//! every packet's timestamp, place and size are known, though most packets are not there yet; a frame can be decoded
//! when all packets up to a few dozen frames behind it are. Other containers tell of a packet where it lies.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::index::Ends;
use crate::limits::Limits;
use crate::tools::Tools;
use crate::video::Video;

/// Frames behind one that must be there to decode it: a decoder with threads looks so far ahead, reordering
/// included, and more.
const LOOK_AHEAD: usize = 64;

/// A video whose file is still arriving. What is not there yet must read as zeros, and the file must have its full
/// length.
#[derive(Debug)]
pub struct Arriving {
    video: Video,
    /// For each frame, how many bytes from the beginning it and all before it need.
    needs: Vec<u64>,
}

impl Arriving {
    /// Reads the tables of an MP4 file; `None` if it is none, or if they are not all there.
    pub fn open(tools: &Tools, path: &Path, limits: &Limits) -> Option<Arriving> {
        if !is_mp4(path) {
            return None;
        }
        let mut ends = Ends::default();
        match Video::read(tools, path, limits, Some(&mut ends)) {
            Ok(video) if !video.is_ordinal() => {
                let needs = needs(&video, ends);
                Some(Arriving { video, needs })
            }
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%error, "frames cannot be told apart yet");
                None
            }
        }
    }

    /// The video, as far as its tables tell. What is wrong with the rest, it does not know.
    pub fn video(&self) -> &Video {
        &self.video
    }

    /// How many frames from the first on can be decoded when so many bytes from the beginning are there.
    pub fn n_frames_within(&self, n_bytes: u64) -> u64 {
        self.needs.partition_point(|&need| need <= n_bytes) as u64
    }

    /// Whether the file, now that it is whole, holds the frames that it was taken to hold.
    pub fn is(&self, whole: &Video) -> bool {
        let (seemed, is) = (&self.video.inner, &whole.inner);
        let same_size = seemed.header.size() == is.header.size();
        same_size && seemed.index.same_frames(&is.index) && seemed.clock == is.clock
    }
}

fn needs(video: &Video, mut ends: Ends) -> Vec<u64> {
    ends.sort_unstable();
    let n_frames = video.n_frames();
    let mut packets = ends.into_iter().peekable();
    let mut need = 0;
    let mut needs = Vec::with_capacity(n_frames as usize);
    for frame_idx in 0..n_frames {
        let last = (frame_idx + LOOK_AHEAD as u64).min(n_frames - 1);
        let until = video.inner.index.pts(last).unwrap_or(i64::MAX);
        while let Some((_, end)) = packets.next_if(|&(pts, _)| pts <= until) {
            need = need.max(end);
        }
        needs.push(need);
    }
    needs
}

/// Whether a file begins as an MP4 or QuickTime file does (ISO/IEC 14496-12 §4.3).
fn is_mp4(path: &Path) -> bool {
    let mut start = [0; 8];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start.ends_with(b"ftyp")
}
