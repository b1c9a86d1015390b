//! Reads the document: the head's fields in any order and the detections in batches. At the end it compares
//! the file with what was expected.

use std::io::Read;

use serde_json::Value;

use super::check::Checker;
use super::problem::{Fault, Problem, ReadError};
use super::record::{self, USUAL_BYTES};
use super::source::Source;
use super::tokens::Kept;
use super::{Detection, Expected, ResultsHead, ResultsSummary, number};

/// Number of detections per batch; the last batch may be smaller.
pub const BATCH: usize = 2048;

/// Total size of unknown fields that are kept in the head.
const MAX_EXTRA_BYTES: usize = 1 << 16;

/// Length at which a wrong job id is truncated in an error.
const MAX_SHOWN_ID_BYTES: usize = 100;

/// Reads a results file and passes its detections to `batch` in the file's order, at most [`BATCH`] at a
/// time.
///
/// `input` is plain JSON, gzip or zstd, detected by its first bytes. It is read in large pieces and need not
/// be buffered. Memory use is a few megabytes, or about a dozen for zstd with the largest window.
///
/// # Errors
/// If the input cannot be read, differs from `expected`, violates the contract, or if `batch` fails. The
/// caller must discard the batches it got before an error: only the last bytes may show that the file is
/// corrupt or belongs to another job.
pub fn read_results<E>(
    input: impl Read,
    expected: &Expected,
    batch: impl FnMut(&[Detection]) -> Result<(), E>,
) -> Result<(ResultsHead, ResultsSummary), ReadError<E>> {
    let source = Source::new(input, expected.size_bytes)?;
    let checker = Checker::new(expected);
    let detections = Detections { checker, batch, pending: Vec::with_capacity(BATCH), n_flushed: 0 };
    Document { source, expected, detections, head: Head::default() }.read()
}

/// The fields of the head that were read so far.
#[derive(Default)]
struct Head {
    job_id: Option<String>,
    video_id: Option<i64>,
    completed_at: Option<Option<String>>,
    frames_processed: Option<Option<u64>>,
    has_detections: bool,
    extra: serde_json::Map<String, Value>,
    extra_bytes: usize,
}

/// Checks detections and collects them into batches.
struct Detections<'a, F> {
    checker: Checker<'a>,
    batch: F,
    pending: Vec<Detection>,
    n_flushed: u64,
}

impl<F> Detections<'_, F> {
    fn n(&self) -> u64 {
        self.n_flushed + self.pending.len() as u64
    }

    #[inline]
    fn push<E>(&mut self, detection: Detection) -> Result<(), ReadError<E>>
    where
        F: FnMut(&[Detection]) -> Result<(), E>,
    {
        self.pending.push(detection);
        if self.pending.len() == BATCH { self.flush() } else { Ok(()) }
    }

    fn flush<E>(&mut self) -> Result<(), ReadError<E>>
    where
        F: FnMut(&[Detection]) -> Result<(), E>,
    {
        if !self.pending.is_empty() {
            (self.batch)(&self.pending).map_err(ReadError::Batch)?;
            self.n_flushed += self.pending.len() as u64;
            self.pending.clear();
        }
        Ok(())
    }
}

/// A results file that is being read.
struct Document<'a, R: Read, F> {
    source: Source<R>,
    expected: &'a Expected,
    detections: Detections<'a, F>,
    head: Head,
}

impl<R: Read, F> Document<'_, R, F> {
    fn read<E>(mut self) -> Result<(ResultsHead, ResultsSummary), ReadError<E>>
    where
        F: FnMut(&[Detection]) -> Result<(), E>,
    {
        self.source.expect(b'{')?;
        let mut has_more = !self.source.is_empty(b'}')?;
        while has_more {
            self.field()?;
            has_more = self.source.more(b'}')?;
        }
        if self.source.after_space()?.is_some() {
            return Err(self.source.invalid(Problem::TrailingBytes).into());
        }
        let missing = |field| self.source.invalid(Problem::Missing(field));
        let head = ResultsHead {
            job_id: self.head.job_id.ok_or_else(|| missing("job_id"))?,
            video_id: self.head.video_id.ok_or_else(|| missing("video_id"))?,
            completed_at: self.head.completed_at.flatten(),
            frames_processed: self.head.frames_processed.flatten(),
            extra: self.head.extra,
        };
        if !self.head.has_detections {
            return Err(missing("detections").into());
        }
        let summary = self.source.finish(self.expected, self.detections.n())?;
        Ok((head, ResultsSummary { n_clamped: self.detections.checker.n_clamped, ..summary }))
    }

    /// Reads one field of the document.
    fn field<E>(&mut self) -> Result<(), ReadError<E>>
    where
        F: FnMut(&[Detection]) -> Result<(), E>,
    {
        let key = self.source.key()?;
        match key.as_str() {
            "detections" => {
                self.once("detections", self.head.has_detections)?;
                self.head.has_detections = true;
                return self.read_detections();
            }
            "job_id" => self.job_id()?,
            "video_id" => self.video_id()?,
            "completed_at" => {
                self.once("completed_at", self.head.completed_at.is_some())?;
                let is_null = self.source.is_null()?;
                self.head.completed_at = Some(if is_null { None } else { Some(self.text("completed_at")?) });
            }
            "frames_processed" => {
                self.once("frames_processed", self.head.frames_processed.is_some())?;
                let is_null = self.source.is_null()?;
                self.head.frames_processed = Some(if is_null { None } else { Some(self.n_frames()?) });
            }
            _ => self.extra(key)?,
        }
        Ok(())
    }

    fn job_id(&mut self) -> Result<(), Fault> {
        self.once("job_id", self.head.job_id.is_some())?;
        let position = self.source.position();
        let mut found = self.text("job_id")?;
        let expected = &self.expected.job_id;
        if found != *expected {
            found.truncate(found.floor_char_boundary(MAX_SHOWN_ID_BYTES));
            return Err(Fault::Invalid(Problem::OtherJob { found, expected: expected.clone() }, position));
        }
        self.head.job_id = Some(found);
        Ok(())
    }

    fn video_id(&mut self) -> Result<(), Fault> {
        self.once("video_id", self.head.video_id.is_some())?;
        let position = self.source.position();
        let found = self.source.number(number::whole_integer, "video_id", "an integer")?;
        if let Some(expected) = self.expected.video_id.filter(|&expected| expected != found) {
            return Err(Fault::Invalid(Problem::OtherVideo { found, expected }, position));
        }
        self.head.video_id = Some(found);
        Ok(())
    }

    fn n_frames(&mut self) -> Result<u64, Fault> {
        let read = |text: &[u8]| number::whole_integer(text).and_then(|n| u64::try_from(n).ok());
        self.source.number(read, "frames_processed", "a non-negative integer")
    }

    fn text(&mut self, field: &'static str) -> Result<String, Fault> {
        if self.source.next_byte()? != b'"' {
            return Err(self.source.invalid(Problem::WrongType { field, want: "a string" }));
        }
        self.source.string()
    }

    fn once(&self, field: &'static str, is_repeated: bool) -> Result<(), Fault> {
        if is_repeated { Err(self.source.invalid(Problem::Repeated(field))) } else { Ok(()) }
    }

    /// Reads an unknown field. It is always validated, but kept only while the limit allows.
    fn extra(&mut self, key: String) -> Result<(), Fault> {
        let position = self.source.position();
        let used = self.head.extra_bytes + key.len();
        let mut kept = Kept::up_to(MAX_EXTRA_BYTES.saturating_sub(used));
        self.source.skip(&mut kept)?;
        if let Some(text) = kept.complete().filter(|_| used <= MAX_EXTRA_BYTES) {
            let value = serde_json::from_slice(text)
                .map_err(|error| Fault::Invalid(Problem::NotJson(error.to_string()), position))?;
            self.head.extra_bytes = used + text.len();
            self.head.extra.insert(key, value);
        }
        Ok(())
    }

    fn read_detections<E>(&mut self) -> Result<(), ReadError<E>>
    where
        F: FnMut(&[Detection]) -> Result<(), E>,
    {
        if self.source.next_byte()? != b'[' {
            let wrong = Problem::WrongType { field: "detections", want: "an array" };
            return Err(self.source.invalid(wrong).into());
        }
        self.source.consume(1);
        let mut has_more = !self.source.is_empty(b']')?;
        while has_more {
            self.source.detection_idx = Some(self.detections.n());
            self.source.next_byte()?;
            self.source.want(USUAL_BYTES)?;
            let position = self.source.position();
            let mut detection = match record::parse(self.source.window()) {
                Some((detection, len)) => {
                    self.source.consume(len);
                    detection
                }
                None => self.source.detection()?,
            };
            if let Err(problem) = self.detections.checker.check(&mut detection) {
                return Err(ReadError::Invalid { problem, position });
            }
            self.detections.push(detection)?;
            has_more = self.source.more(b']')?;
        }
        self.source.detection_idx = None;
        self.detections.flush()
    }
}
