//! FNV-1a, 64 bits: a fast hash for data that is not adversarial.

const PRIME: u64 = 0x0100_0000_01b3;

/// The state of the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds bytes one at a time, as FNV-1a is defined.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(PRIME)))
    }

    /// Adds bytes eight at a time, padded with zeros at the end. Faster for large data, with other values than `add`.
    pub(crate) fn add_words(self, bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        };
        Self(bytes.chunks(8).fold(self.0, |hash, c| (hash ^ word(c)).wrapping_mul(PRIME)))
    }

    /// The hash of all bytes added so far.
    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(Fnv::default().value(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::default().add(b"a").value(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fnv::default().add(b"foo").add(b"bar").value(), 0x8594_4171_f739_67e8);
    }
}
