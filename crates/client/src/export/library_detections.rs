//! The detections of the library as an iterator.
//!
//! A thread with its own database connection reads ahead by a few batches in one read transaction: an import that
//! runs at the same time does not affect the export.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use store::{DetectionRow, DetectionScope, DetectionView, Library};

use super::detection::ExportDetection;
use super::selection::Selection;
use crate::failure::{Failure, Kind, Outcome};
use crate::stop::Stop;

/// Number of detections in a batch.
const BATCH: usize = 1024;
/// Batches read ahead of the consumer.
const BATCHES_AHEAD: usize = 8;

/// Which detections to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Whose detections.
    pub selection: Selection,
    /// Lowest confidence, 0 to 1.
    pub min_confidence: f64,
    /// Whether edits of tracks are ignored.
    pub is_raw: bool,
}

/// Detections ordered by frame, then track. Ends after the first error.
pub struct LibraryDetections {
    batches: Option<Receiver<Vec<ExportDetection>>>,
    current: std::vec::IntoIter<ExportDetection>,
    reader: Option<JoinHandle<Outcome<()>>>,
    stop: Stop,
    n_read: u64,
}

impl LibraryDetections {
    /// Starts reading detections. `library` is a connection that nothing else uses. After a stop request the iterator ends
    /// with a failure of kind [`Kind::Interrupted`].
    pub fn start(library: Library, wanted: Wanted, stop: &Stop) -> Self {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let reader = std::thread::spawn(move || read(&library, &wanted, &sender));
        Self {
            batches: Some(batches),
            current: Vec::new().into_iter(),
            reader: Some(reader),
            stop: stop.clone(),
            n_read: 0,
        }
    }

    /// The number of detections returned so far.
    pub fn n_read(&self) -> u64 {
        self.n_read
    }

    /// Waits for the reader and returns its error, if any.
    fn finish(&mut self) -> Option<Outcome<ExportDetection>> {
        self.batches = None;
        let joined = self.reader.take()?.join();
        let result = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.err().map(Err)
    }
}

impl Iterator for LibraryDetections {
    type Item = Outcome<ExportDetection>;

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

fn read(library: &Library, wanted: &Wanted, sender: &SyncSender<Vec<ExportDetection>>) -> Outcome<()> {
    let scope = match &wanted.selection {
        Selection::Video(id) => DetectionScope::Video(*id),
        Selection::Job(id) => DetectionScope::Job(id),
    };
    let view = DetectionView { scope, is_raw: wanted.is_raw };
    let mut batch = Vec::with_capacity(BATCH);
    let mut invalid = None;
    library.for_each_detection(view, |row| {
        let d = &row.detection;
        if !d.bbox.iter().chain([&d.confidence]).all(|x| x.is_finite()) {
            invalid = Some(Failure::msg(Kind::Failed, describe_invalid(row)));
            return ControlFlow::Break(());
        }
        if d.confidence >= wanted.min_confidence {
            let (frame, track_id, bbox, confidence) = (d.frame, d.track_id, d.bbox, d.confidence);
            batch.push(ExportDetection { frame, track_id, prompt: 0, bbox, confidence });
        }
        if batch.len() < BATCH {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
        // Fails if the export ended early and dropped the receiver.
        if sender.send(full).is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let _ = sender.send(batch);
    invalid.map_or(Ok(()), Err)
}

fn describe_invalid(row: &DetectionRow) -> String {
    let (id, frame, track) = (row.id, row.detection.frame, row.detection.track_id);
    format!(
        "detection {id} of the library (frame {frame}, track {track}) has a box or confidence that is not finite"
    )
}
