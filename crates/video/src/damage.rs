//! The report on frames that could not be decoded.

/// How many of the requested frames were decoded. Damage in the middle of a file does not stop
/// decoding: lost frames are skipped, and the others keep their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Requested frames that the file should contain.
    pub expected: u64,
    /// Frames decoded so far.
    pub decoded: u64,
    /// Frames that the decoder delivered with a timestamp that no packet has. They were skipped.
    pub n_unnumbered: u64,
    /// The first and the last few error lines from the decoder.
    pub messages: Vec<String>,
    /// Total number of error lines from the decoder.
    pub n_messages: u64,
}

impl Damage {
    /// Requested frames that could not be decoded.
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.decoded)
    }

    /// Adds the report on frames that follow those of this one.
    pub fn append(&mut self, later: Damage) {
        self.expected += later.expected;
        self.decoded += later.decoded;
        self.n_unnumbered += later.n_unnumbered;
        self.n_messages += later.n_messages;
        if self.messages.is_empty() {
            self.messages = later.messages;
        }
    }

    /// Whether frames are missing or the decoder reported errors. In the second case, frames near
    /// the damage may show stale content.
    pub fn is_damaged(&self) -> bool {
        self.missing() > 0 || self.n_messages > 0 || self.n_unnumbered > 0
    }
}
