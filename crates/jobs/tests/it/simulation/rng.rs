//! The random numbers of a simulation, all derived from one seed. The generator is implemented here, so that
//! a seed gives the same result on every machine and with every version of every library.

use std::ops::Range;
use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

/// One step of the mixing function.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Hashes bytes.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let blocks = bytes.chunks(8).map(|chunk| chunk.iter().fold(0, |word, &b| word << 8 | u64::from(b)));
    blocks.fold(mix(bytes.len() as u64), |hash, word| mix(hash ^ word))
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Makes a generator that is independent of this one's further use.
    pub(super) fn fork(&self, name: &str) -> Self {
        Self(mix(self.0 ^ digest(name.as_bytes())))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn float(&mut self, range: Range<f64>) -> f64 {
        range.start + (range.end - range.start) * self.unit()
    }

    pub(super) fn count(&mut self, range: Range<u64>) -> u64 {
        range.start + self.number() % (range.end - range.start)
    }

    /// A duration, distributed uniformly over a range of seconds.
    pub(super) fn seconds(&mut self, range: Range<f64>) -> Duration {
        Duration::from_secs_f64(self.float(range))
    }

    /// A duration whose logarithm is distributed uniformly over a range of seconds.
    pub(super) fn log_uniform_seconds(&mut self, range: Range<f64>) -> Duration {
        Duration::from_secs_f64(self.float(range.start.ln()..range.end.ln()).exp())
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.count(0..from.len() as u64) as usize]
    }
}
