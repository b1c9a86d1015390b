//! A copy of the video with boxes and track numbers drawn into it.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use video::{Overlay, Tools, Video};

use super::Detection;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use crate::stop::Stop;

/// What the annotated video shows.
pub struct Annotation<'a> {
    /// Programs.
    pub tools: &'a Tools,
    /// Source.
    pub video: &'a Video,
    /// Source frames to show.
    pub range: std::ops::Range<u64>,
    /// Frames between tracked ones: boxes stay until the next.
    pub every: u64,
    /// What was tracked; named beside the id if there are several.
    pub prompts: &'a [String],
}

impl Annotation<'_> {
    /// Draws the boxes into a copy of the video.
    ///
    /// # Errors
    /// Of kind [`Kind::Interrupted`](crate::failure::Kind) when it was stopped; those of the iterator; those of
    /// the video. Without success, there is no file.
    pub fn write(
        &self,
        path: &Path,
        detections: impl Iterator<Item = Outcome<Detection>>,
        stop: &Stop,
    ) -> Outcome<()> {
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

    fn overlay(&self, d: &Detection) -> Overlay {
        let name = self.prompts.get(d.prompt as usize).filter(|_| self.prompts.len() > 1);
        let [x, y, width, height] = d.bbox.map(|v| v as f32);
        let track_id = u64::try_from(d.track_id).unwrap_or_default();
        Overlay { track_id, x, y, width, height, label: name.cloned().unwrap_or_default() }
    }
}

/// Groups detections by frame for a reader that goes forward.
struct BoxesByFrame<I> {
    rest: I,
    next: Option<Detection>,
    current: Vec<Detection>,
    current_frame: Option<i64>,
    error: Option<Failure>,
}

impl<I: Iterator<Item = Outcome<Detection>>> BoxesByFrame<I> {
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

    fn at(&mut self, frame: i64) -> &[Detection] {
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
