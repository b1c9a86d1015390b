//! A copy of the video with boxes and track ids drawn into it.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use video::{Overlay, Tools, Video};

use super::spec::{Content, Spec};
use crate::export::detection::ExportDetection;
use crate::failure::{Failure, Kind, Outcome};
use crate::progress::Progress;
use crate::stop::Stop;

/// The default file name differs from the video's own.
pub(super) const SPEC: Spec = Spec {
    name: "video",
    extension: "annotated.mp4",
    media_type: "video/mp4",
    content: Content::Video,
    has_times: false,
};

/// Extensions of the container that is written.
const EXTENSIONS: [&str; 2] = ["mp4", "m4v"];

/// Checks that the name of an annotated video says what is written, an MP4.
///
/// # Errors
/// Of kind [`Kind::Usage`].
pub fn check_video_name(path: &Path) -> Outcome<()> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if EXTENSIONS.contains(&&*extension) {
        return Ok(());
    }
    let message = format!("cannot write {}: annotated videos are MP4 files", path.display());
    let other = path.with_extension("mp4");
    Err(Failure::msg(Kind::Usage, message).hint(format!("name it {}", other.display())))
}

/// An annotated copy of a video, before its detections are drawn.
pub struct Annotation<'a> {
    /// The ffmpeg programs that decode the source and encode the copy.
    pub tools: &'a Tools,
    /// The source video, opened by the caller.
    pub video: &'a Video,
    /// Source frames to copy.
    pub range: std::ops::Range<u64>,
    /// Frames from one tracked frame to the next; boxes are repeated on the frames between.
    pub every: u64,
    /// The prompts. If there are several, each box is labelled with its own.
    pub prompts: &'a [String],
}

impl Annotation<'_> {
    /// Draws the detections, ordered by frame, into a copy of the video. The file appears only on success. Returns what
    /// the copy lacks, as messages for the user.
    ///
    /// # Errors
    /// Of kind [`Kind::Interrupted`] if it was stopped; those of the iterator; those of
    /// decoding and encoding.
    pub fn write(
        &self,
        path: &Path,
        detections: impl Iterator<Item = Outcome<ExportDetection>>,
        stop: &Stop,
    ) -> Outcome<Vec<String>> {
        let boxes = RefCell::new(BoxesByFrame::new(detections));
        let mut progress = Progress::start("drawing", 0, self.range.end.saturating_sub(self.range.start));
        let first = self.range.start;
        let mut overlays = |frame: u64| {
            let tracked = frame - (frame - first) % self.every.max(1);
            boxes.borrow_mut().at(tracked as i64).iter().map(|d| self.overlay(d)).collect()
        };
        let mut report = |done: u64, _total: u64| {
            progress.update(done, "");
            let ends = stop.requested() || boxes.borrow().error.is_some();
            if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let drawn =
            video::annotate(self.tools, self.video, path, self.range.clone(), &mut overlays, &mut report);
        progress.finish();
        match boxes.into_inner().error {
            Some(error) => Err(error),
            None => Ok(drawn?),
        }
    }

    fn overlay(&self, d: &ExportDetection) -> Overlay {
        let prompt = self.prompts.get(d.prompt as usize).filter(|_| self.prompts.len() > 1);
        let [x, y, width, height] = d.bbox.map(|v| v as f32);
        let track_id = u64::try_from(d.track_id).unwrap_or_default();
        Overlay { track_id, x, y, width, height, label: prompt.cloned().unwrap_or_default() }
    }
}

/// Groups detections by frame, for a reader that requests frames in ascending order.
struct BoxesByFrame<I> {
    rest: I,
    next: Option<ExportDetection>,
    current: Vec<ExportDetection>,
    current_frame: Option<i64>,
    error: Option<Failure>,
}

impl<I: Iterator<Item = Outcome<ExportDetection>>> BoxesByFrame<I> {
    fn new(rest: I) -> Self {
        let mut boxes = Self { rest, next: None, current: Vec::new(), current_frame: None, error: None };
        boxes.advance();
        boxes
    }

    fn advance(&mut self) {
        self.next = match self.rest.next() {
            Some(Ok(d)) => Some(d),
            Some(Err(error)) => {
                self.error = Some(error);
                None
            }
            None => None,
        };
    }

    fn at(&mut self, frame: i64) -> &[ExportDetection] {
        if self.current_frame != Some(frame) {
            self.current_frame = Some(frame);
            self.current.clear();
            while let Some(d) = self.next.filter(|d| d.frame <= frame) {
                if d.frame == frame {
                    self.current.push(d);
                }
                self.advance();
            }
        }
        &self.current
    }
}
