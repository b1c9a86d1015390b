//! Provides the JSON text through one buffer that is refilled as it is consumed. A token must fit into the
//! buffer, whose growth is limited, so memory use does not depend on the input.

use std::io::{ErrorKind, Read};

use super::codec::{Codec, Decoder};
use super::problem::{Fault, Position, Problem};
use super::{Expected, ResultsSummary};

/// Initial size of the buffer.
const BUFFER: usize = 1 << 18;

/// Longest string or number that is accepted, in bytes.
const LONGEST_TOKEN: usize = 1 << 20;

/// Largest accepted ratio of text to compressed bytes, beyond the first `FREE_TEXT` bytes. Real results have
/// a ratio of 4 to 10, a decompression bomb of about 1,000.
const MAX_EXPANSION: u64 = 200;
const FREE_TEXT: u64 = 1 << 26;

/// The text and the current position in it.
pub(super) struct Source<R: Read> {
    decoder: Decoder<R>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of text before `buffer[0]`.
    base: u64,
    is_at_end: bool,
    expected_bytes: Option<u64>,
    /// For [`Position`]; set by the reader.
    pub(super) detection_idx: Option<u64>,
}

impl<R: Read> Source<R> {
    pub(super) fn new(input: R, expected_bytes: Option<u64>) -> Result<Self, Fault> {
        Ok(Self {
            decoder: Decoder::new(input).map_err(Fault::Io)?,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            base: 0,
            is_at_end: false,
            expected_bytes,
            detection_idx: None,
        })
    }

    /// The buffered text that has not been consumed.
    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Consumes bytes of the window.
    #[inline]
    pub(super) fn consume(&mut self, n_bytes: usize) {
        debug_assert!(n_bytes <= self.end - self.start, "only buffered bytes can be consumed");
        self.start += n_bytes;
    }

    /// Extends the window to at least `n_bytes`, unless the text ends before.
    #[inline]
    pub(super) fn want(&mut self, n_bytes: usize) -> Result<(), Fault> {
        while self.end - self.start < n_bytes && !self.is_at_end {
            self.fill()?;
        }
        Ok(())
    }

    /// Extends the window; `false` at the end of the text.
    pub(super) fn grow(&mut self) -> Result<bool, Fault> {
        self.want(self.end - self.start + 1)?;
        Ok(!self.is_at_end)
    }

    /// The next byte; `None` at the end of the text.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        if self.start == self.end {
            self.want(1)?;
        }
        Ok(self.window().first().copied())
    }

    /// Reads once from the decoder.
    fn fill(&mut self) -> Result<(), Fault> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.base += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            if self.end >= LONGEST_TOKEN {
                let limit = LONGEST_TOKEN >> 20;
                return Err(
                    self.invalid(Problem::TooLarge(format!("a string or number is longer than {limit} MiB")))
                );
            }
            self.buffer.resize(2 * self.end, 0);
        }
        match self.decoder.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.is_at_end = true,
            Ok(n) => self.end += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(self.failure(error)),
        }
        self.check_sizes()
    }

    #[cold]
    fn failure(&self, error: std::io::Error) -> Fault {
        if self.decoder.input_has_failed() {
            return Fault::Io(error);
        }
        let problem = match error.kind() {
            ErrorKind::UnexpectedEof => Problem::Truncated,
            _ => Problem::Damaged { codec: self.decoder.codec(), detail: error.to_string() },
        };
        Fault::Invalid(problem, self.position_of(self.end - self.start))
    }

    fn check_sizes(&self) -> Result<(), Fault> {
        let stored = self.decoder.stored_bytes();
        if let Some(expected) = self.expected_bytes.filter(|&expected| stored > expected) {
            return Err(self.invalid(Problem::WrongSize { found: stored, expected }));
        }
        let text = self.base + self.end as u64;
        let limit = FREE_TEXT.saturating_add(stored.saturating_mul(MAX_EXPANSION));
        if self.decoder.codec() != Codec::Plain && text > limit {
            let detail =
                format!("{stored} compressed bytes expand to {text} bytes of text, which is implausible");
            return Err(self.invalid(Problem::TooLarge(detail)));
        }
        Ok(())
    }

    /// The position `n_bytes` after the start of the window.
    pub(super) fn position_of(&self, n_bytes: usize) -> Position {
        let offset_bytes = self.base + (self.start + n_bytes) as u64;
        Position { detection_idx: self.detection_idx, offset_bytes }
    }

    /// The position of the next byte.
    pub(super) fn position(&self) -> Position {
        self.position_of(0)
    }

    /// Makes an error at the position of the next byte.
    #[cold]
    pub(super) fn invalid(&self, problem: Problem) -> Fault {
        Fault::Invalid(problem, self.position())
    }

    /// Called at the end of the text: the summary of the file, if it is as expected.
    pub(super) fn finish(&self, expected: &Expected, n_detections: u64) -> Result<ResultsSummary, Fault> {
        let size_bytes = self.decoder.stored_bytes();
        let sha256 = self.decoder.sha256();
        if let Some(expected) = expected.size_bytes.filter(|&expected| expected != size_bytes) {
            return Err(self.invalid(Problem::WrongSize { found: size_bytes, expected }));
        }
        if let Some(expected) = expected.sha256.as_ref().filter(|hex| !hex.eq_ignore_ascii_case(&sha256)) {
            return Err(self.invalid(Problem::WrongSha256 { found: sha256, expected: expected.clone() }));
        }
        if let Some(expected) = expected.n_detections.filter(|&expected| expected != n_detections) {
            return Err(self.invalid(Problem::WrongCount { found: n_detections, expected }));
        }
        Ok(ResultsSummary { size_bytes, sha256, n_detections, n_clamped: 0 })
    }
}
