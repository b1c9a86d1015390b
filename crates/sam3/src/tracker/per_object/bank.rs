//! The memory bank of one object: only what later frames can still read.
//!
//! After frame t the bank contains the memories of the last `num_maskmem − 1` frames and of the newest
//! `max_cond_frame_num` conditioning frames, the pointers of the last `max_object_pointers − 1` frames, and the
//! pointers of conditioning frames: of all, or only of those that are attended to, depending on [`crate::Compat`].
//! A conditioning frame is one whose mask came from a detection or was confirmed by one.

use candle_core::{Result as TensorResult, Tensor};

use crate::model_files::config::TrackerConfig;

/// How much a bank keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BankLimits {
    /// How many frames back memories of ordinary frames are read (`num_maskmem − 1`).
    pub recent_memories: usize,
    /// How many frames back pointers of ordinary frames are read (`max_object_pointers − 1`).
    pub recent_pointers: usize,
    /// Number of conditioning frames that are attended to; `None`: all.
    pub cond_frames: Option<usize>,
    /// Whether the pointers of all conditioning frames are kept forever, as in the reference.
    pub all_cond_pointers: bool,
}

impl BankLimits {
    pub(crate) fn new(cfg: &TrackerConfig, all_cond_pointers: bool) -> Self {
        Self {
            recent_memories: cfg.num_maskmem - 1,
            recent_pointers: cfg.max_object_pointers_in_encoder - 1,
            cond_frames: usize::try_from(cfg.max_cond_frame_num).ok(),
            all_cond_pointers,
        }
    }
}

/// A value with the frame that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub frame_idx: usize,
    pub value: T,
}

/// One object's memory. Each list is ordered by frame.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bank {
    /// Memories of conditioning frames, `[g·g, m]` in bf16.
    pub cond_memories: Vec<At<Tensor>>,
    /// Memories of the other frames, of the same shape.
    pub memories: Vec<At<Tensor>>,
    /// Object pointers of conditioning frames, `[c]`.
    pub cond_pointers: Vec<At<Tensor>>,
    /// Object pointers of the other frames, of the same shape.
    pub pointers: Vec<At<Tensor>>,
}

impl Bank {
    /// Adds a frame and drops what the next frames cannot read. Copies the tensors, which are usually rows of a
    /// batch, so that the bank does not keep the whole batch alive.
    pub(crate) fn store(
        &mut self,
        frame_idx: usize,
        is_cond: bool,
        memory: &Tensor,
        pointer: &Tensor,
        limits: &BankLimits,
    ) -> TensorResult<()> {
        let (memory, pointer) = (memory.force_contiguous()?, pointer.force_contiguous()?);
        let (memories, pointers) = if is_cond {
            (&mut self.cond_memories, &mut self.cond_pointers)
        } else {
            (&mut self.memories, &mut self.pointers)
        };
        memories.push(At { frame_idx, value: memory });
        pointers.push(At { frame_idx, value: pointer });
        self.prune(frame_idx + 1, limits);
        Ok(())
    }

    /// Drops what frame `next` and later frames cannot read.
    fn prune(&mut self, next: usize, limits: &BankLimits) {
        let oldest_memory = next.saturating_sub(limits.recent_memories);
        let oldest_pointer = next.saturating_sub(limits.recent_pointers);
        self.memories.retain(|m| m.frame_idx >= oldest_memory);
        self.pointers.retain(|p| p.frame_idx >= oldest_pointer);
        let Some(n) = limits.cond_frames else { return };
        keep_newest_or_since(&mut self.cond_memories, n, oldest_memory);
        if !limits.all_cond_pointers {
            keep_newest_or_since(&mut self.cond_pointers, n, oldest_pointer);
        }
    }

    /// Memories that frame `frame_idx` attends to, each with its row in the table of temporal positions; the last
    /// row is for conditioning frames (`_gather_memory_frame_outputs`).
    pub(crate) fn gather_memories(&self, frame_idx: usize, limits: &BankLimits) -> Vec<(usize, &Tensor)> {
        let cond_row = limits.recent_memories;
        let n_cond = self.cond_memories.len();
        let n_selected = limits.cond_frames.map_or(n_cond, |n| n.min(n_cond));
        let (unselected, selected) = self.cond_memories.split_at(n_cond - n_selected);
        let mut gathered: Vec<(usize, &Tensor)> = selected.iter().map(|m| (cond_row, &m.value)).collect();
        for offset in (1..=limits.recent_memories.min(frame_idx)).rev() {
            let earlier = frame_idx - offset;
            let found = self.memories.iter().chain(unselected).find(|m| m.frame_idx == earlier);
            gathered.extend(found.map(|m| (offset - 1, &m.value)));
        }
        gathered
    }

    /// Pointers that frame `frame_idx` attends to, each with its age in frames (`_get_object_pointers`).
    /// `max_pointers` includes the current frame's.
    pub(crate) fn gather_pointers(&self, frame_idx: usize, max_pointers: usize) -> Vec<(usize, &Tensor)> {
        let cond = self.cond_pointers.iter().map(|p| (frame_idx - p.frame_idx, &p.value));
        let recent = self.pointers.iter().rev().map(|p| (frame_idx - p.frame_idx, &p.value));
        cond.chain(recent.filter(|(age, _)| *age < max_pointers)).collect()
    }

    /// Bytes of the bank's tensors.
    pub(crate) fn size_bytes(&self) -> usize {
        let lists = [&self.cond_memories, &self.memories, &self.cond_pointers, &self.pointers];
        lists.into_iter().flatten().map(|at| at.value.elem_count() * at.value.dtype().size_in_bytes()).sum()
    }
}

/// Keeps the newest `n` entries and every other entry since frame `oldest`.
fn keep_newest_or_since<T>(list: &mut Vec<At<T>>, n: usize, oldest: usize) {
    let newest_from = list.len().saturating_sub(n);
    let mut i = 0;
    list.retain(|at| {
        i += 1;
        i > newest_from || at.frame_idx >= oldest
    });
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn bank_after(frames: usize, cond_every: usize, limits: &BankLimits) -> Bank {
        let mut bank = Bank::default();
        for t in 0..frames {
            let value = |n: usize| Tensor::full(t as f32, n, &Device::Cpu).unwrap();
            let memory = value(8).to_dtype(DType::BF16).unwrap();
            bank.store(t, t % cond_every == 0, &memory, &value(4), limits).unwrap();
        }
        bank
    }

    const LIMITS: BankLimits = BankLimits {
        recent_memories: 6,
        recent_pointers: 15,
        cond_frames: Some(4),
        all_cond_pointers: false,
    };

    #[test]
    fn size_does_not_grow_with_time() {
        let at = |frames| bank_after(frames, 16, &LIMITS).size_bytes();
        assert_eq!(at(16 * 6 + 3), at(16 * 60 + 3));
    }

    #[test]
    fn the_reference_keeps_every_conditioning_pointer() {
        let limits = BankLimits { all_cond_pointers: true, ..LIMITS };
        assert_eq!(bank_after(161, 16, &limits).cond_pointers.len(), 11);
        assert_eq!(bank_after(161, 16, &LIMITS).cond_pointers.len(), 4);
    }

    #[test]
    fn unselected_conditioning_frames_in_the_window_are_read_as_ordinary_frames() {
        let bank = bank_after(20, 1, &LIMITS);
        let rows: Vec<usize> = bank.gather_memories(20, &LIMITS).iter().map(|(row, _)| *row).collect();
        // Frames 16 to 19 are the four newest; 14 and 15 are 6 and 5 frames back.
        assert_eq!(rows, [6, 6, 6, 6, 5, 4]);
    }

    #[test]
    fn ages_and_temporal_rows_of_a_track_reconditioned_every_16_frames() {
        let bank = bank_after(40, 16, &LIMITS);
        let rows: Vec<usize> = bank.gather_memories(40, &LIMITS).iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [6, 6, 6, 5, 4, 3, 2, 1, 0]);
        let ages: Vec<usize> = bank.gather_pointers(40, 16).iter().map(|(age, _)| *age).collect();
        assert_eq!(ages[..3], [40, 24, 8]);
        assert_eq!(ages[3..], [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]);
    }
}
