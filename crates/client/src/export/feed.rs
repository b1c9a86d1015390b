//! Detections of the library as an iterator. A thread with a connection of its own reads ahead by a few batches;
//! what it hands out are the detections of one moment, whatever is imported meanwhile.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use store::{DetectionRow, Library, Select};

use super::Detection;
use super::subject::Selected;
use crate::failure::{Failure, Kind, Outcome};
use crate::stop::Stop;

/// Detections to a batch.
const BATCH: usize = 1024;
/// Batches read ahead.
const AHEAD: usize = 8;

/// Detections by frame, then track. Ends after the first error.
pub struct Feed {
    batches: Option<Receiver<Vec<Detection>>>,
    current: std::vec::IntoIter<Detection>,
    reader: Option<JoinHandle<Outcome<()>>>,
    stop: Stop,
    n_read: u64,
}

impl Feed {
    /// Reads those that are at least so confident. `library` is for this alone.
    pub fn start(library: Library, selected: Selected, min_confidence: f64, stop: &Stop) -> Self {
        let (sender, batches) = sync_channel(AHEAD);
        let reader = std::thread::spawn(move || read(&library, &selected, min_confidence, &sender));
        Self {
            batches: Some(batches),
            current: Vec::new().into_iter(),
            reader: Some(reader),
            stop: stop.clone(),
            n_read: 0,
        }
    }

    /// Detections handed out so far.
    pub fn n_read(&self) -> u64 {
        self.n_read
    }

    /// The end: of the detections, or of the reader by an error.
    fn finish(&mut self) -> Option<Outcome<Detection>> {
        self.batches = None;
        let ended = self.reader.take()?.join();
        let read = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.err().map(Err)
    }
}

impl Iterator for Feed {
    type Item = Outcome<Detection>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(detection) = self.current.next() {
            self.n_read += 1;
            return Some(Ok(detection));
        }
        if self.stop.requested() && self.batches.take().is_some() {
            return Some(Err(Failure::msg(Kind::Interrupted, "the export is not written")));
        }
        match self.batches.as_ref()?.recv() {
            Ok(batch) => {
                self.current = batch.into_iter();
                self.next()
            }
            Err(_) => self.finish(),
        }
    }
}

fn read(
    library: &Library,
    selected: &Selected,
    min_confidence: f64,
    sender: &SyncSender<Vec<Detection>>,
) -> Outcome<()> {
    let of = match selected {
        Selected::Video(id) => Select::Video(*id),
        Selected::Job(id) => Select::Job(id),
    };
    let mut batch = Vec::with_capacity(BATCH);
    let mut impossible = None;
    library.for_each_detection(of, |row| {
        let d = &row.detection;
        if !d.bbox.iter().chain([&d.confidence]).all(|x| x.is_finite()) {
            impossible = Some(Failure::msg(Kind::Failed, what_is_impossible(row)));
            return ControlFlow::Break(());
        }
        if d.confidence >= min_confidence {
            let (frame, track_id, bbox, confidence) = (d.frame, d.track_id, d.bbox, d.confidence);
            batch.push(Detection { frame, track_id, prompt: 0, bbox, confidence });
        }
        if batch.len() < BATCH {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
        // Nobody listens any more: the export ended early.
        if sender.send(full).is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let _ = sender.send(batch);
    impossible.map_or(Ok(()), Err)
}

fn what_is_impossible(row: &DetectionRow) -> String {
    let (id, frame, track) = (row.id, row.detection.frame, row.detection.track_id);
    format!(
        "detection {id} of the library (frame {frame}, track {track}) has a box or confidence without end"
    )
}
