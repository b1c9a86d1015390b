//! The result files: JSON as other programs read it, MOT Challenge text, and the annotated video.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use video::{Overlay, Tools, Video};

use super::spool::{Detection, Spool};
use crate::failure::Outcome;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::whole_file::{WholeFile, cannot};

/// The fields of a results file beside its detections.
#[derive(Debug, Serialize)]
pub struct ResultsHead<'a> {
    /// Name of the run.
    pub job_id: &'a str,
    /// The video's number in a library; 0 without one.
    pub video_id: u64,
    /// RFC 3339.
    pub completed_at: &'a str,
    /// Frames tracked.
    pub frames_processed: u64,
    /// What was tracked; a detection's `prompt` counts them from 0.
    pub prompts: &'a [String],
}

/// Writes a results file: one object, its `detections` streamed, one to a line.
pub fn write_results(path: &Path, head: &ResultsHead<'_>, spool: &mut Spool) -> Outcome<()> {
    let mut file = WholeFile::create(path)?;
    let failed = |e| cannot("write", path, e);
    let head_json = serde_json::to_string(head).map_err(|e| failed(e.into()))?;
    let fields = head_json.trim_end_matches('}');
    write!(file, "{fields},\"detections\":[").map_err(failed)?;
    let with_prompt = head.prompts.len() > 1;
    for (i, detection) in spool.read()?.enumerate() {
        file.write_all(if i == 0 { b"\n" } else { b",\n" }).map_err(failed)?;
        write_detection(&mut file, &detection?, with_prompt).map_err(failed)?;
    }
    file.write_all(b"\n]}\n").map_err(failed)?;
    file.keep()
}

fn write_detection(out: &mut impl Write, d: &Detection, with_prompt: bool) -> std::io::Result<()> {
    write!(out, "{{\"frame\":{},\"track_id\":{},\"bbox\":[", d.frame, d.track_id)?;
    for (i, x) in d.bbox.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{}", Decimal(f64::from(*x), 2))?;
    }
    write!(out, "],\"confidence\":{}", Decimal(f64::from(d.confidence), 4))?;
    if with_prompt {
        write!(out, ",\"prompt\":{}", d.prompt)?;
    }
    out.write_all(b"}")
}

/// A number with at most so many decimals and no trailing zeros.
struct Decimal(f64, usize);

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.*}", self.1, self.0);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

/// Writes MOT Challenge text: frame (from 1), id, left, top, width, height, confidence, -1, -1, -1.
pub fn write_mot(path: &Path, spool: &mut Spool) -> Outcome<()> {
    let mut file = WholeFile::create(path)?;
    for detection in spool.read()? {
        let d = detection?;
        let [x, y, w, h] = d.bbox.map(|v| Decimal(f64::from(v), 2));
        let confidence = Decimal(f64::from(d.confidence), 4);
        writeln!(file, "{},{},{x},{y},{w},{h},{confidence},-1,-1,-1", d.frame + 1, d.track_id)
            .map_err(|e| cannot("write", path, e))?;
    }
    file.keep()
}

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
    /// Draws the spool's boxes into a copy of the video.
    pub fn write(&self, path: &Path, spool: &mut Spool, stop: &Stop) -> Outcome<()> {
        let mut boxes = BoxesByFrame::new(spool.read()?);
        let mut progress = Progress::start("drawing", 0, self.range.end.saturating_sub(self.range.start));
        let first = self.range.start;
        let mut overlays = |frame: u64| {
            let tracked = frame - (frame - first) % self.every;
            boxes.at(tracked).iter().map(|d| self.overlay(d)).collect()
        };
        let mut report = |done: u64, _total: u64| {
            progress.update(done, "");
            if stop.requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        video::annotate(self.tools, self.video, path, self.range.clone(), &mut overlays, &mut report)?;
        progress.finish();
        match boxes.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn overlay(&self, d: &Detection) -> Overlay {
        let name = self.prompts.get(d.prompt as usize).filter(|_| self.prompts.len() > 1);
        let [x, y, width, height] = d.bbox;
        Overlay { track_id: d.track_id, x, y, width, height, label: name.cloned().unwrap_or_default() }
    }
}

/// Groups detections by frame for a reader that goes forward.
struct BoxesByFrame<I> {
    rest: I,
    next: Option<Detection>,
    current: Vec<Detection>,
    current_frame: Option<u64>,
    error: Option<crate::failure::Failure>,
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

    fn at(&mut self, frame: u64) -> &[Detection] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_useless_digits() {
        let shown = |x: f64, n| Decimal(x, n).to_string();
        assert_eq!(shown(12.0, 2), "12");
        assert_eq!(shown(12.305, 2), "12.3");
        assert_eq!(shown(-0.001, 2), "0");
        assert_eq!(shown(0.98765, 4), "0.9877");
        assert_eq!(shown(100.0, 0), "100");
    }

    #[test]
    fn results_are_json_that_old_readers_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tracks.json");
        let mut spool = Spool::unnamed(&path).unwrap();
        for frame in [3, 4] {
            let bbox = [1.0, 2.5, 30.0, 40.125];
            spool.push(Detection { frame, track_id: 2, prompt: 0, bbox, confidence: 0.91234 }).unwrap();
        }
        let prompts = ["player".to_owned()];
        let head = ResultsHead {
            job_id: "track-game",
            video_id: 0,
            completed_at: "2026-01-02T03:04:05Z",
            frames_processed: 5,
            prompts: &prompts,
        };
        write_results(&path, &head, &mut spool).unwrap();
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(json["frames_processed"], 5);
        let want =
            serde_json::json!({"frame": 3, "track_id": 2, "bbox": [1, 2.5, 30, 40.12], "confidence": 0.9123});
        assert_eq!(json["detections"][0], want);
        assert_eq!(json["detections"].as_array().unwrap().len(), 2);
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["tracks.json"]);
    }
}
