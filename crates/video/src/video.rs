//! A probed video file: its properties, frame count and frame times.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::VideoError;
use crate::header::Header;
use crate::index::{Index, PacketEnds};
use crate::limits::Limits;
use crate::tools::Tools;

/// A video file whose packets were indexed, so that every frame has a number and a time. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Video {
    pub(crate) inner: Arc<VideoInner>,
}

#[derive(Debug)]
pub(crate) struct VideoInner {
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
    /// 1080p if the file is in the page cache, and for as long as it takes to read it otherwise.
    ///
    /// # Errors
    ///
    /// When the file is missing, is not a video, exceeds `limits`, uses an unsupported codec or
    /// format, or when reading it stalls.
    pub fn open(tools: &Tools, path: &Path, limits: &Limits) -> Result<Video, VideoError> {
        let video = Video::read(tools, path, limits, None)?;
        for warning in video.warnings() {
            tracing::warn!(path = %path.display(), "{warning}");
        }
        Ok(video)
    }

    /// Like [`Video::open`], without logging warnings; also appends the end of each packet to `ends`.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        limits: &Limits,
        ends: Option<&mut PacketEnds>,
    ) -> Result<Video, VideoError> {
        // ffmpeg can interpret other names as options or protocols.
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
        Ok(Video { inner: Arc::new(VideoInner { tools, limits, path, header, index, clock, warnings }) })
    }

    /// The file, as an absolute path without symbolic links.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Width of a frame in pixels, after rotation.
    pub fn width(&self) -> u32 {
        self.inner.header.size().0
    }

    /// Height of a frame in pixels, after rotation.
    pub fn height(&self) -> u32 {
        self.inner.header.size().1
    }

    /// Number of frames according to the packet index; the header's number may differ. In an
    /// [ordinal](Self::is_ordinal) file this is the number of packets, and decoding may produce a few
    /// frames less.
    pub fn n_frames(&self) -> u64 {
        self.inner.index.n_frames()
    }

    /// Average number of frames per second.
    pub fn fps(&self) -> f64 {
        self.inner.clock.fps()
    }

    /// Time from the start of the first frame to the end of the last one, in seconds.
    pub fn duration_s(&self) -> f64 {
        self.time_s(self.n_frames() - 1) - self.time_s(0) + 1.0 / self.fps()
    }

    /// The codec, as ffmpeg names it: `h264`, `hevc`, `vp8`, `vp9`, `av1`, `mpeg4` or `msmpeg4v3`.
    pub fn codec(&self) -> &str {
        &self.inner.header.codec
    }

    /// Presentation time of a frame, in seconds since the file's start, as a player shows it. Exact
    /// also for variable frame rates. Past the last frame, times continue at the average rate.
    pub fn time_s(&self, frame_idx: u64) -> f64 {
        let last = self.n_frames() - 1;
        let time_us = self.inner.clock.frame_us(&self.inner.index, frame_idx.min(last));
        time_us as f64 / 1e6 + frame_idx.saturating_sub(last) as f64 / self.fps()
    }

    /// Whether timestamps are missing or repeated, so that frames are counted from the start. Reading
    /// from frame k then decodes all frames before it, and its time is `k / fps`.
    pub fn is_ordinal(&self) -> bool {
        self.inner.index.ordinal
    }

    /// Messages about irregularities of the file, for the user; empty if there are none.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }
}

fn warnings(header: &Header, index: &Index) -> Vec<String> {
    let mut warnings = Vec::new();
    let n_packets = index.n_packets;
    if let Some(declared) = header.declared_frames.filter(|&declared| declared != n_packets) {
        warnings.push(format!("the header declares {declared} frames, but the file contains {n_packets}"));
    }
    if let Some(errors) = &index.demuxer_errors {
        warnings.push(format!("the file is damaged: {errors}"));
    }
    if index.ordinal {
        warnings.push(String::from(
            "timestamps are missing or repeated: frames are counted from the start, and resuming decodes all \
             earlier frames again",
        ));
    }
    if header.interlaced {
        warnings.push(String::from("the video is interlaced: moving edges show comb artifacts"));
    }
    warnings
}
