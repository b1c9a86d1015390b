//! What a session remembers of its tracks: a bank for each of them, and how they are used.

use std::collections::{BTreeSet, HashMap};

use candle_core::{DType, Device, Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use super::bank::{At, Bank, BankLimits};
use crate::model_files::config::TrackerConfig;
use crate::options::{Mode, SessionOptions};

/// Default number of objects that are computed together. More are computed in turns, so that a crowd costs time
/// rather than working memory.
pub(crate) const BATCH_SIZE: usize = 16;

/// How a session uses its memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub limits: BankLimits,
    /// Objects that are computed together, at least 1.
    pub batch_size: usize,
    mode: Mode,
    is_reference: bool,
}

impl Settings {
    pub(crate) fn new(cfg: &TrackerConfig, options: &SessionOptions) -> Self {
        let is_reference = options.compat.is_reference();
        let limits = BankLimits::new(cfg, is_reference);
        Self { limits, batch_size: BATCH_SIZE, mode: options.mode, is_reference }
    }

    /// Number of pointers that an object attends to on frame `frame_idx`, the current frame's included. The reference
    /// takes at most as many as the video has frames: all frames offline, the frames so far in streaming mode.
    pub(crate) fn max_pointers(&self, frame_idx: usize) -> usize {
        let configured = self.limits.recent_pointers + 1;
        match self.mode {
            Mode::Offline { n_frames } => configured.min(n_frames.max(frame_idx + 1)),
            Mode::Streaming if self.is_reference => configured.min(frame_idx + 1),
            Mode::Streaming => configured,
        }
    }

    /// Whether, on a frame with births, the memory of all other tracks is encoded again from their raw masks, as in
    /// the reference.
    pub(crate) fn encodes_again_on_births(&self) -> bool {
        self.is_reference
    }
}

/// The memory of a session. Row i belongs to the session's track i.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub settings: Settings,
    pub banks: Vec<Bank>,
}

/// Frames of a bank's lists, in the order of [`LISTS`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SavedRow([Vec<usize>; 4]);

/// Names of a bank's lists in a saved session.
const LISTS: [&str; 4] = ["cond_memories", "memories", "cond_pointers", "pointers"];

fn lists(bank: &Bank) -> [&Vec<At<Tensor>>; 4] {
    [&bank.cond_memories, &bank.memories, &bank.cond_pointers, &bank.pointers]
}

fn tensor_name(row: usize, list: &str) -> String {
    format!("tracks.{row}.{list}")
}

impl Memory {
    pub(crate) fn forget(&mut self, rows: &BTreeSet<usize>) {
        let mut row = 0;
        self.banks.retain(|_| {
            row += 1;
            !rows.contains(&(row - 1))
        });
    }

    pub(crate) fn halve_batch(&mut self) -> Option<usize> {
        let batch_size = self.settings.batch_size;
        if batch_size <= 1 {
            return None;
        }
        // With fewer than two tracks, only births can need more than one object at a time.
        let n = self.banks.len();
        self.settings.batch_size = if n > 1 { batch_size.min(n) / 2 } else { batch_size / 2 };
        Some(self.settings.batch_size)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.banks.iter().map(Bank::size_bytes).sum()
    }

    /// Checks that each bank has memories, in order, of frames since its track's first and before `n_frames`.
    pub(crate) fn check(&self, first_frames: &[usize], n_frames: usize) -> Result<(), String> {
        for (row, (bank, first)) in self.banks.iter().zip(first_frames).enumerate() {
            let is_known = |list: &Vec<At<Tensor>>| {
                let frames = || list.iter().map(|at| at.frame_idx);
                frames().is_sorted_by(|a, b| a < b)
                    && frames().all(|frame| (*first..n_frames).contains(&frame))
            };
            let is_empty = bank.cond_memories.is_empty() && bank.memories.is_empty();
            if is_empty || !lists(bank).into_iter().all(is_known) {
                return Err(format!(
                    "the memory of its track in row {row} is not of frames {first} to {n_frames}"
                ));
            }
        }
        Ok(())
    }

    /// Rows and named tensors that [`super::Tracker::load`] restores.
    pub(crate) fn save(&self) -> TensorResult<(Vec<SavedRow>, NamedTensors)> {
        let mut tensors = Vec::new();
        for (row, bank) in self.banks.iter().enumerate() {
            for (name, list) in LISTS.iter().zip(lists(bank)).filter(|(_, list)| !list.is_empty()) {
                let values: Vec<&Tensor> = list.iter().map(|at| &at.value).collect();
                tensors.push((tensor_name(row, name), Tensor::stack(&values, 0)?));
            }
        }
        let frames = |list: &Vec<At<Tensor>>| list.iter().map(|at| at.frame_idx).collect();
        let saved_row = |bank: &Bank| SavedRow(lists(bank).map(frames));
        Ok((self.banks.iter().map(saved_row).collect(), tensors))
    }
}

/// Tensors with their names in a saved session.
type NamedTensors = Vec<(String, Tensor)>;

/// Shape and type of a tensor in a bank.
pub(crate) type Kind = (Vec<usize>, DType);

/// Restores the bank of row `row`; `None` if a tensor is missing or has another shape or type.
pub(crate) fn load_bank(
    row: usize,
    SavedRow(frames): &SavedRow,
    (memory, pointer): (&Kind, &Kind),
    tensors: &HashMap<String, Tensor>,
    device: &Device,
) -> Option<Bank> {
    let list =
        |i: usize, kind: &Kind| load_list(tensors.get(&tensor_name(row, LISTS[i])), &frames[i], kind, device);
    Some(Bank {
        cond_memories: list(0, memory)?,
        memories: list(1, memory)?,
        cond_pointers: list(2, pointer)?,
        pointers: list(3, pointer)?,
    })
}

/// One list of a bank: a row of the stacked tensor for each frame.
fn load_list(
    stacked: Option<&Tensor>,
    frames: &[usize],
    (shape, dtype): &Kind,
    device: &Device,
) -> Option<Vec<At<Tensor>>> {
    if frames.is_empty() {
        return Some(Vec::new());
    }
    let stacked = stacked?;
    if stacked.dim(0).ok()? != frames.len() || stacked.dims()[1..] != shape[..] || stacked.dtype() != *dtype {
        return None;
    }
    // A sum of absolute values is finite only if they all are.
    let sum = stacked.to_dtype(DType::F32).and_then(|t| t.abs()?.sum_all()?.to_scalar::<f32>());
    if !sum.is_ok_and(f32::is_finite) {
        return None;
    }
    let at = |(i, &frame_idx): (usize, &usize)| {
        let value = stacked.get(i).and_then(|t| t.force_contiguous()).and_then(|t| t.to_device(device));
        Some(At { frame_idx, value: value.ok()? })
    };
    frames.iter().enumerate().map(at).collect()
}
