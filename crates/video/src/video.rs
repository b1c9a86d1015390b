//! A probed video file: its properties, frame count and frame times.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::VideoError;
use crate::header::Header;
use crate::index::{Index, PacketEnds, Packets};
use crate::keyframe::KeyframeCheck;
use crate::limits::Limits;
use crate::scan::{Scan, ScanLength};
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
    /// Files whose packets do not say which frames a decoder delivers are also decoded once: those
    /// with field pictures, missing or repeated timestamps, or joined recordings.
    ///
    /// # Errors
    ///
    /// When the file is missing, is not a video, exceeds `limits`, uses an unsupported codec or
    /// format, or when reading it stalls.
    pub fn open(tools: &Tools, path: &Path, limits: &Limits) -> Result<Video, VideoError> {
        Video::open_with(tools, path, None, limits, &mut |_, _| ())
    }

    /// Like [`Video::open`], for a `stream` of the file, counted as ffmpeg counts all streams; `None`: the one that players
    /// show. While the file is decoded to number its frames, calls `on_scan` with the number of frames decoded and the
    /// number of packets.
    ///
    /// # Errors
    ///
    /// Those of [`Video::open`], and [`VideoError::NoSuchStream`].
    pub fn open_with(
        tools: &Tools,
        path: &Path,
        stream: Option<u32>,
        limits: &Limits,
        on_scan: &mut dyn FnMut(u64, u64),
    ) -> Result<Video, VideoError> {
        let path = regular_file(path)?;
        let header = Header::read(tools, &path, stream, limits)?;
        let index = Index::read(tools, &path, &header, limits, on_scan)?;
        Ok(Video::new(tools, path, limits, header, index))
    }

    /// Like [`Video::open`], for a file that is still being downloaded: appends the end of each packet to
    /// `ends`. `None` if the packets do not determine the frames.
    pub(crate) fn open_growing(
        tools: &Tools,
        path: &Path,
        stream: Option<u32>,
        limits: &Limits,
        ends: &mut PacketEnds,
    ) -> Result<Option<Video>, VideoError> {
        let path = regular_file(path)?;
        let header = Header::read(tools, &path, stream, limits)?;
        let packets = Packets::read(tools, &path, &header, limits, Some(ends))?;
        let index = Index::without_scan(&packets, &header);
        Ok(index.map(|index| Video::new(tools, path, limits, header, index)))
    }

    fn new(tools: &Tools, path: PathBuf, limits: &Limits, header: Header, index: Index) -> Video {
        let clock = Clock::new(&header, &index);
        let warnings = warnings(&header, &index);
        let (tools, limits) = (tools.clone(), limits.clone());
        Video { inner: Arc::new(VideoInner { tools, limits, path, header, index, clock, warnings }) }
    }

    /// Decodes the first frame that can be decoded.
    ///
    /// # Errors
    ///
    /// When no frame can be decoded, for example because the file is encrypted, and when ffmpeg cannot be run or
    /// stalls.
    pub fn check_decodable(&self) -> Result<(), VideoError> {
        let VideoInner { tools, limits, path, header, index, .. } = &*self.inner;
        if index.is_scanned {
            return Ok(());
        }
        Scan::run(tools, path, header, limits, ScanLength::Frames(1), &mut |_| ()).map(drop)
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

    /// Width of a pixel relative to its height, after rotation. Frames and boxes are in stored pixels;
    /// a player stretches them by this ratio.
    pub fn pixel_aspect(&self) -> (u32, u32) {
        self.inner.header.shown_pixel_aspect()
    }

    /// Number of frames that a decoder delivers if nothing is damaged; the header's number may differ.
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

    /// Number of the stream that is read, if it is not the one that players show.
    pub fn stream(&self) -> Option<u32> {
        let header = &self.inner.header;
        (!header.is_default_stream).then_some(header.stream)
    }

    /// The codec, as ffmpeg names it, such as `h264` or `hevc`.
    pub fn codec(&self) -> &str {
        &self.inner.header.codec
    }

    /// Presentation time of a frame, in seconds since the file's start, as a player shows it. Exact
    /// also for variable frame rates. Past the last frame, times continue at the average rate.
    pub fn time_s(&self, frame_idx: u64) -> f64 {
        let last = self.n_frames() - 1;
        let time_us = self.time_us(frame_idx.min(last));
        time_us as f64 / 1e6 + frame_idx.saturating_sub(last) as f64 / self.fps()
    }

    /// [`Video::time_s`] of every frame, in order, in whole microseconds.
    pub fn times_us(&self) -> impl ExactSizeIterator<Item = i64> {
        // There is an index of all frames in memory, so their number fits.
        (0..self.n_frames() as usize).map(|frame_idx| self.time_us(frame_idx as u64))
    }

    fn time_us(&self, frame_idx: u64) -> i64 {
        self.inner.clock.frame_us(&self.inner.index, frame_idx)
    }

    /// The last frame at or before this one at which decoding can begin: a keyframe, or frame 0. To read a frame, all frames
    /// since that one are decoded. Reads a little of the file, to check the keyframes.
    pub fn decoding_start(&self, frame_idx: u64) -> u64 {
        let VideoInner { header, index, path, .. } = &*self.inner;
        let key = index.pts(frame_idx).and_then(|pts| {
            let key = index.keyframe_before(pts, 0, &KeyframeCheck::new(header, path))?;
            index.rank(key)
        });
        key.unwrap_or(0)
    }

    /// Whether timestamps do not identify frames, so that they are counted from the start. Reading
    /// from frame k then decodes all frames before it.
    pub fn is_counted(&self) -> bool {
        self.inner.index.is_counted()
    }

    /// Messages about irregularities of the file, for the user; empty if there are none.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }
}

fn warnings(header: &Header, index: &Index) -> Vec<String> {
    let mut warnings = Vec::new();
    let n_packets = index.n_packets;
    let declared = header.declared_frames.filter(|declared| Some(*declared) != index.n_periods);
    let is_short = declared.is_some_and(|declared| declared > n_packets);
    if let Some(declared) = declared.filter(|&declared| declared != n_packets) {
        let cause = if is_short { ": it was not copied completely, or is damaged" } else { "" };
        warnings
            .push(format!("the header declares {declared} frames, but the file contains {n_packets}{cause}"));
    }
    // Of a file that ends early, the demuxer's messages say nothing more.
    if let Some(errors) = index.demuxer_errors.as_ref().filter(|_| !is_short) {
        warnings.push(format!("the file is damaged (ffmpeg: {errors})"));
    }
    if index.n_undecodable_at_start > 0 {
        warnings.push(format!(
            "the recording begins in the middle of a group of pictures: {} frames before the first keyframe \
             cannot be decoded and are not numbered",
            index.n_undecodable_at_start
        ));
    }
    if index.is_counted() {
        warnings.push(String::from(
            "timestamps are missing, repeat, or restart where recordings were joined: frames are counted from \
             the start, and resuming decodes all earlier frames again",
        ));
    }
    if header.is_interlaced() {
        warnings.push(String::from("the video is interlaced: moving edges show comb artifacts"));
    }
    if !header.other_streams.is_empty() {
        let (stream, others) = (header.stream, header.other_streams.join(", "));
        warnings.push(format!(
            "the file has several video streams: stream {stream} is read, not {others}. To read another, \
             add --stream NUMBER"
        ));
    }
    warnings
}

/// The absolute path of a file that is not empty.
fn regular_file(path: &Path) -> Result<PathBuf, VideoError> {
    // ffmpeg can interpret other names as options or protocols.
    let path = path.canonicalize().map_err(|source| VideoError::io(path, "cannot open", source))?;
    let metadata = path.metadata().map_err(|source| VideoError::io(&path, "cannot open", source))?;
    if !metadata.is_file() {
        return Err(VideoError::not_video(&path, "it is not a regular file"));
    }
    if metadata.len() == 0 {
        return Err(VideoError::not_video(&path, "it is empty; the upload or copy may have failed"));
    }
    Ok(path)
}
