//! Importing a downloaded results file: one thread parses and verifies it, this one writes to the database.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::mpsc;

use jobs::manifest::Timestamp;
use jobs::results::{self, Expected, ReadError, ResultsHead};
use store::{ImportJob, ImportReport, Library, ResultsSummary, StoreError, StoredDetection as DetectionRow};

use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};

/// Batches of detections that may wait for the database.
const BATCHES_AHEAD: usize = 8;

/// What was found in a results file.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadReport {
    /// Number of tracks.
    pub(super) n_tracks: usize,
    /// Number of confidences that were slightly outside 0..=1, and were clamped.
    pub(super) n_clamped: u64,
    /// The last frame with a detection.
    pub(super) last_frame: Option<u64>,
    /// The prompts that the results name; empty if they name none.
    pub(super) prompts: Vec<String>,
}

impl ReadReport {
    /// What was changed in the results to make them valid.
    pub(super) fn warnings(&self) -> Vec<String> {
        let clamped =
            || format!("{} confidences are slightly below 0 or above 1, and were clamped", self.n_clamped);
        (self.n_clamped > 0).then(clamped).into_iter().collect()
    }
}

/// Imports a results file in one transaction. Returns what was found in it with the report; `None` if the library had
/// the results before and the file was not read.
pub(super) fn import_file(
    library: &mut Library,
    file: &Path,
    job: &ImportJob,
    expected: &Expected,
) -> Outcome<(ImportReport, Option<ReadReport>)> {
    let input = File::open(file).map_err(|e| cannot("read", file, e))?;
    let (sender, batches) = mpsc::sync_channel::<Vec<DetectionRow>>(BATCHES_AHEAD);
    let mut found = None;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read(BufReader::new(input), expected, &sender));
        let report = library.import(job, |writer| {
            for batch in batches {
                writer.push(&batch)?;
            }
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (head, report) = read.map_err(|e| rejected(e, &expected.job_id))?;
            found = Some(report);
            Ok(ResultsSummary {
                frames_processed: head.frames_processed.map(|n| n as i64),
                completed_at: head.completed_at.and_then(|t| Timestamp::parse(&t)).map(|t| t.moment()),
            })
        });
        let report = report.map_err(|failure: Failure| match failure.cause() {
            // The database finds what is wrong with detections as a whole, such as one that occurs twice.
            Some(StoreError::BadInput(_)) => invalid(failure, &expected.job_id),
            _ => failure,
        });
        report.map(|report| (report, found))
    })
}

/// The failure for results that cannot be imported. They stay in the bucket for inspection.
fn rejected(error: Box<ReadError<DatabaseClosed>>, id: &str) -> Failure {
    let is_invalid = matches!(*error, ReadError::Invalid { .. });
    let failure = Failure::new(Kind::Failed, error);
    match is_invalid {
        true => invalid(failure, id),
        false => failure.context(not_imported(id)),
    }
}

fn invalid(failure: Failure, id: &str) -> Failure {
    failure.context(not_imported(id))
}

/// Whether an import failed because the results are invalid.
pub(super) fn is_invalid(failure: &Failure) -> bool {
    let read = failure.cause::<Box<ReadError<DatabaseClosed>>>();
    read.is_some_and(|error| matches!(**error, ReadError::Invalid { .. }))
        || matches!(failure.cause(), Some(StoreError::BadInput(_)))
}

/// Checks a results file without importing it.
pub(super) fn verify(file: &Path, expected: &Expected) -> Outcome<()> {
    let input = File::open(file).map_err(|e| cannot("read", file, e))?;
    let read = results::read_results(BufReader::new(input), expected, |_| Ok(()));
    read.map(|_| ()).map_err(|e| rejected(Box::new(e), &expected.job_id))
}

fn not_imported(id: &str) -> String {
    format!("job {id} is not imported")
}

/// The database side ended before the file was read completely. Its own error has the reason.
#[derive(Debug, thiserror::Error)]
#[error("the database stopped accepting rows")]
struct DatabaseClosed;

/// Parses the file and sends its detections in batches. Returns the header and what was found.
fn read(
    input: impl Read,
    expected: &Expected,
    sender: &mpsc::SyncSender<Vec<DetectionRow>>,
) -> Result<(ResultsHead, ReadReport), Box<ReadError<DatabaseClosed>>> {
    let mut tracks = HashSet::new();
    let mut last_frame = None;
    let to_row = |d: &results::Detection| DetectionRow {
        frame: d.frame as i64,
        track_id: d.track_id as i64,
        bbox: d.bbox,
        confidence: d.confidence,
    };
    let (head, summary) = results::read_results(input, expected, |batch| {
        tracks.extend(batch.iter().map(|d| d.track_id));
        last_frame = batch.iter().map(|d| d.frame).max().max(last_frame);
        sender.send(batch.iter().map(to_row).collect()).map_err(|_| DatabaseClosed)
    })
    .map_err(Box::new)?;
    let prompts = head.extra.get("prompts").and_then(|value| value.as_array()).into_iter().flatten();
    let prompts = prompts.filter_map(|prompt| Some(prompt.as_str()?.to_owned())).collect();
    Ok((head, ReadReport { n_tracks: tracks.len(), n_clamped: summary.n_clamped, last_frame, prompts }))
}
