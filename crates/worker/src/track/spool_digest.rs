//! Digests of a [spool](super::spool): what its file must contain, in memory while it is written, and in checkpoints.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::spool::RECORD_BYTES;

/// Records per digest. Part of the format of checkpoints: with another number, their digests do not match.
pub(super) const BLOCK_RECORDS: u64 = 4096;

/// A digest of each block of records, the last of which may be shorter: the first 16 bytes of its SHA-256, in
/// hexadecimal. An hour of a game has a few hundred.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SpoolDigests(Vec<String>);

impl SpoolDigests {
    pub(super) fn n_blocks(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether `bytes` are those of the block with this index.
    pub(super) fn matches(&self, block: u64, bytes: &[u8]) -> bool {
        let expected = usize::try_from(block).ok().and_then(|block| self.0.get(block));
        expected.is_some_and(|expected| *expected == digest(Sha256::new_with_prefix(bytes)))
    }
}

/// Counts and digests records as they are appended.
#[derive(Default)]
pub(super) struct Ledger {
    n_records: u64,
    complete: SpoolDigests,
    /// The records of the last, incomplete block.
    open: Sha256,
}

impl Ledger {
    /// Number of records.
    pub(super) fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Adds a record.
    pub(super) fn add(&mut self, record: &[u8; RECORD_BYTES]) {
        self.open.update(record);
        self.n_records += 1;
        if self.n_records.is_multiple_of(BLOCK_RECORDS) {
            self.complete.0.push(digest(std::mem::take(&mut self.open)));
        }
    }

    /// The digests of all records.
    pub(super) fn digests(&self) -> SpoolDigests {
        let mut digests = self.complete.clone();
        if !self.n_records.is_multiple_of(BLOCK_RECORDS) {
            digests.0.push(digest(self.open.clone()));
        }
        digests
    }
}

fn digest(hash: Sha256) -> String {
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
