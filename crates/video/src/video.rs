//! A probed file: what it holds, and the way to its frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::VideoError;
use crate::frames::{DecodeOptions, Frames};
use crate::header::Header;
use crate::index::{Clock, Ends, Index};
use crate::limits::Limits;
use crate::tools::Tools;

/// A video file that was read through once, so that every frame in it has a number and a time.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Video {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) tools: Tools,
    pub(crate) limits: Limits,
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    pub(crate) index: Index,
    pub(crate) clock: Clock,
    warnings: Vec<String>,
}

impl Video {
    /// Reads the header and the timestamp of every packet. Blocks for about a second per hour of
    /// 1080p once the file is in memory; the disk sets the pace otherwise.
    ///
    /// # Errors
    ///
    /// Says what is wrong with a file that is missing, no video, too large for `limits`, of a
    /// codec or format that is not taken, or that cannot be read without stalling.
    pub fn open(tools: &Tools, path: &Path, limits: &Limits) -> Result<Video, VideoError> {
        let video = Video::read(tools, path, limits, None)?;
        for warning in video.warnings() {
            tracing::warn!(path = %path.display(), "{warning}");
        }
        Ok(video)
    }

    /// As [`Video::open`], and notes where packets end, if anybody wants to know.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        limits: &Limits,
        ends: Option<&mut Ends>,
    ) -> Result<Video, VideoError> {
        // ffmpeg takes other names for options and protocols; an absolute path is just a file.
        let path = path.canonicalize().map_err(|source| VideoError::io(path, "cannot open", source))?;
        let metadata = path.metadata().map_err(|source| VideoError::io(&path, "cannot open", source))?;
        if !metadata.is_file() {
            return Err(VideoError::not_video(&path, "it is not a regular file"));
        }
        if metadata.len() == 0 {
            return Err(VideoError::not_video(&path, "it is empty; the upload or copy may have failed"));
        }
        let header = Header::read(tools, &path, limits)?;
        let index = Index::read(tools, &path, limits, ends)?;
        let clock = Clock::new(&header, &index);
        let warnings = warnings(&header, &index);
        let (tools, limits) = (tools.clone(), limits.clone());
        Ok(Video { inner: Arc::new(Inner { tools, limits, path, header, index, clock, warnings }) })
    }

    /// The file, as an absolute path without links.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Width of a picture in pixels, after rotation.
    pub fn width(&self) -> u32 {
        self.inner.header.size().0
    }

    /// Height of a picture in pixels, after rotation.
    pub fn height(&self) -> u32 {
        self.inner.header.size().1
    }

    /// How many frames the file holds, whatever its header says. In an [ordinal](Self::is_ordinal)
    /// file the number of packets, which a decoder may turn into a few frames less.
    pub fn n_frames(&self) -> u64 {
        self.inner.index.n_frames()
    }

    /// Average frames per second.
    pub fn fps(&self) -> f64 {
        self.inner.clock.fps()
    }

    /// From the first frame's beginning to the last one's end, in seconds.
    pub fn duration_s(&self) -> f64 {
        self.time_s(self.n_frames() - 1) - self.time_s(0) + 1.0 / self.fps()
    }

    /// The codec, by ffmpeg's name: `h264`, `hevc`, `vp8`, `vp9`, `av1`, `mpeg4` or `msmpeg4v3`.
    pub fn codec(&self) -> &str {
        &self.inner.header.codec
    }

    /// When a frame is shown, in seconds since the file's start, as a player's clock has it. Exact
    /// for variable frame rates too. Beyond the last frame it goes on at the average rate.
    pub fn time_s(&self, frame_idx: u64) -> f64 {
        let last = self.n_frames() - 1;
        let time_us = self.inner.clock.frame_us(&self.inner.index, frame_idx.min(last));
        time_us as f64 / 1e6 + frame_idx.saturating_sub(last) as f64 / self.fps()
    }

    /// Whether the file's timestamps are missing or repeat, so that frames are counted from the
    /// start: reading from frame k then decodes everything before it, and times are `k / fps`.
    pub fn is_ordinal(&self) -> bool {
        self.inner.index.ordinal
    }

    /// What is odd about the file, in words for people; empty for a sound one.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Starts to decode. Decoding runs ahead of the iterator on threads of its own, by at most
    /// [`DecodeOptions::read_ahead`] pictures.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started. What goes wrong later comes out of the iterator.
    pub fn frames(&self, options: &DecodeOptions) -> Result<Frames, VideoError> {
        Frames::start(self, options)
    }
}

fn warnings(header: &Header, index: &Index) -> Vec<String> {
    let mut warnings = Vec::new();
    let n_packets = index.n_packets;
    if let Some(announced) = header.announced.filter(|&announced| announced != n_packets) {
        warnings.push(format!("the header announces {announced} frames, the file holds {n_packets}"));
    }
    if let Some(complaint) = &index.complaint {
        warnings.push(format!("the file is damaged: {complaint}"));
    }
    if index.ordinal {
        warnings.push(String::from(
            "timestamps are missing or repeat: frames are counted from the start, and resuming decodes all before",
        ));
    }
    if header.interlaced {
        warnings.push(String::from("the video is interlaced: moving edges look like combs"));
    }
    warnings
}
