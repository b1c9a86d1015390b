//! Decompresses the stored bytes, and computes their size and hash. The codec is detected by the first bytes.
//! Memory is bounded for any input.

use std::fmt;
use std::io::{self, BufReader, Chain, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// The compression of a results file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Plain JSON, without compression.
    Plain,
    /// Gzip (RFC 1952), with one or more members.
    Gzip,
    /// Zstandard (RFC 8878), with one or more frames.
    Zstd,
}

impl Codec {
    /// Detects the codec from the first bytes of a file; four are enough.
    #[must_use]
    pub fn of(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x1F, 0x8B, ..] => Self::Gzip,
            // A frame, or a skippable frame, which parallel compressors write first.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Size of the buffer of compressed bytes.
const STORED_BUFFER: usize = 1 << 16;

/// Base-2 logarithm of the largest zstd window accepted. RFC 8878 recommends that decoders support at least
/// this, and all compression levels but the "ultra" ones stay within it.
const WINDOW_LOG_MAX: u32 = 23;

/// Counts and hashes the stored bytes as they are read.
pub(super) struct Stored<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    hash: Sha256,
    size_bytes: u64,
    has_failed: bool,
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = self.input.read(buf);
        match &result {
            Ok(n) => {
                self.hash.update(&buf[..*n]);
                self.size_bytes += *n as u64;
            }
            Err(error) => self.has_failed |= error.kind() != io::ErrorKind::Interrupted,
        }
        result
    }
}

/// Reads the decompressed text.
pub(super) enum Decoder<R: Read> {
    Plain(Stored<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Stored<R>>>>),
    Zstd(zstd::Decoder<'static, BufReader<Stored<R>>>),
}

impl<R: Read> Decoder<R> {
    pub(super) fn new(mut input: R) -> io::Result<Self> {
        let mut first_bytes = Vec::with_capacity(4);
        input.by_ref().take(4).read_to_end(&mut first_bytes)?;
        let codec = Codec::of(&first_bytes);
        let input = Cursor::new(first_bytes).chain(input);
        let stored = Stored { input, hash: Sha256::new(), size_bytes: 0, has_failed: false };
        Ok(match codec {
            Codec::Plain => Self::Plain(stored),
            Codec::Gzip => {
                let buffered = BufReader::with_capacity(STORED_BUFFER, stored);
                Self::Gzip(Box::new(MultiGzDecoder::new(buffered)))
            }
            Codec::Zstd => {
                let mut decoder =
                    zstd::Decoder::with_buffer(BufReader::with_capacity(STORED_BUFFER, stored))?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }

    pub(super) fn codec(&self) -> Codec {
        match self {
            Self::Plain(_) => Codec::Plain,
            Self::Gzip(_) => Codec::Gzip,
            Self::Zstd(_) => Codec::Zstd,
        }
    }

    fn stored(&self) -> &Stored<R> {
        match self {
            Self::Plain(stored) => stored,
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
            Self::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Number of stored bytes read so far.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored().size_bytes
    }

    /// Whether an error came from the underlying reader rather than from the decompressor.
    pub(super) fn input_has_failed(&self) -> bool {
        self.stored().has_failed
    }

    /// SHA-256 of the stored bytes read so far, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        hex(self.stored().hash.clone())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stored) => stored.read(buf),
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Zstd(decoder) => decoder.read(buf),
        }
    }
}

/// Formats a hash in lower-case hexadecimal.
pub(super) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_codecs_by_their_first_bytes() {
        assert_eq!(Codec::of(b"{\"job_id\""), Codec::Plain);
        assert_eq!(Codec::of(b""), Codec::Plain);
        assert_eq!(Codec::of(&[0x1F, 0x8B]), Codec::Gzip);
        assert_eq!(Codec::of(&[0x28, 0xB5, 0x2F, 0xFD, 1]), Codec::Zstd);
        assert_eq!(Codec::of(&[0x50, 0x2A, 0x4D, 0x18]), Codec::Zstd);
        assert_eq!(Codec::of(&[0x28, 0xB5, 0x2F]), Codec::Plain);
    }
}
