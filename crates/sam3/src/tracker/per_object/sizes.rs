//! How much device memory tracking takes: counted for banks, estimated for intermediate tensors.

use super::memory::BATCH_SIZE;
use super::tracker::Tracker;

impl Tracker {
    /// Bytes of `n` full banks.
    pub(crate) fn memory_bytes(&self, n: usize) -> u64 {
        let sizes = Sizes::of(self);
        let memories = sizes.bank_frames * sizes.cells * sizes.channels * 2;
        n as u64 * (memories + sizes.bank_pointers * sizes.width * sizes.activation)
    }

    /// Estimated bytes of the largest stage with `n` objects: their keys before and after rotation and joined, the
    /// activations and MLP of memory attention, and the masks of the memory encoder.
    pub(crate) fn working_bytes(&self, n: usize) -> u64 {
        let Sizes { activation, cells, width, channels, mlp, bank_frames, bank_pointers } = Sizes::of(self);
        let keys = bank_frames * cells + bank_pointers * (width / channels);
        // Keys of one object at a time while they are rotated, in f32.
        let rotated = keys * width * 6 * 4;
        let each = keys * (3 * width + 3 * channels)
            + cells * (10 * width + 2 * mlp)
            // The memory encoder's masks, 16 times the grid's side, in f32 and in patches.
            + 256 * cells * 8;
        rotated + n.min(BATCH_SIZE) as u64 * each * activation
    }

    /// Frames until a bank is full: the recent pointers, or the conditioning frames, one every `recondition_every`.
    pub(crate) fn warm_up_frames(&self, recondition_every: usize) -> usize {
        let limits = &self.default_settings().limits;
        let cond = limits.cond_frames.unwrap_or(0) * recondition_every.max(1);
        cond.max(limits.recent_pointers) + 2
    }
}

/// The dimensions that determine sizes.
struct Sizes {
    /// Bytes of an activation.
    activation: u64,
    /// Cells of the patch grid.
    cells: u64,
    /// Channels of memory attention.
    width: u64,
    /// Channels of a memory.
    channels: u64,
    /// Width of memory attention's MLP.
    mlp: u64,
    /// Frames in a full bank.
    bank_frames: u64,
    /// Pointers in a full bank.
    bank_pointers: u64,
}

impl Sizes {
    fn of(tracker: &Tracker) -> Self {
        let cfg = &tracker.cfg;
        let limits = tracker.default_settings().limits;
        let n_cond = limits.cond_frames.unwrap_or(0);
        Self {
            activation: tracker.image_positions.dtype().size_in_bytes() as u64,
            cells: (tracker.grid * tracker.grid) as u64,
            width: cfg.vision_config.fpn_hidden_size as u64,
            channels: cfg.memory_encoder_output_channels as u64,
            mlp: cfg.memory_attention_feed_forward_hidden_size as u64,
            bank_frames: (limits.recent_memories + n_cond) as u64,
            bank_pointers: (limits.recent_pointers + n_cond) as u64,
        }
    }
}
