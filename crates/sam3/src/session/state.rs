//! What a session consists of, and how it starts.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::enlarge::Enlarger;
use super::lifecycle::DuplicateCounts;
use super::output::{LowResMask, MemoryFallback};
use super::synthetic::SyntheticScene;
use super::track::Track;
use crate::detector::text::PromptFeatures;
use crate::error::{Error, Result};
use crate::mask::fill_holes_and_remove_specks;
use crate::model::Model;
use crate::options::{Mode, SessionOptions};
use crate::tokenizer::PromptTokens;
use crate::tracker::{Memory, Rules};

/// One video being tracked.
pub struct Session {
    pub(super) model: Arc<Model>,
    pub(super) options: SessionOptions,
    pub(super) rules: Rules,
    pub(super) prompts: Vec<String>,
    pub(super) prompt_features: Vec<PromptFeatures>,
    pub(super) enlarger: Enlarger,
    /// In benchmarks, what replaces the masks and scores that were computed.
    pub(super) synthetic: Option<SyntheticScene>,
    pub(super) state: State,
}

/// Everything that changes from frame to frame.
pub(super) struct State {
    /// Frames pushed so far.
    pub n_frames: usize,
    pub next_id: u64,
    pub tracks: Vec<Track>,
    /// What the tracker remembers; row i belongs to `tracks[i]`.
    pub memory: Memory,
    pub duplicates: DuplicateCounts,
    /// Frames that are tracked but not yet reported, oldest first.
    pub pending: VecDeque<PendingFrame>,
    /// New detections that were rejected because the limit of tracks was reached, over all frames.
    pub n_rejected: u64,
    /// Ids of removed tracks that pending frames still contain, with the frame of their removal.
    pub removed: Vec<(u64, usize)>,
    pub memory_fallbacks: Vec<MemoryFallback>,
}

/// A frame that waits until it is known which of its tracks are removed.
#[derive(Debug, Clone)]
pub(super) struct PendingFrame {
    pub frame_idx: usize,
    /// The masks of all tracks, by id.
    pub masks: Vec<LowResMask>,
    /// Ids removed on this frame.
    pub removed: Vec<u64>,
    /// Ids hidden on this frame by step 6.
    pub hidden: Vec<u64>,
}

impl State {
    fn new(memory: Memory) -> Self {
        Self {
            n_frames: 0,
            next_id: 0,
            tracks: Vec::new(),
            memory,
            duplicates: DuplicateCounts::default(),
            pending: VecDeque::new(),
            n_rejected: 0,
            removed: Vec::new(),
            memory_fallbacks: Vec::new(),
        }
    }

    /// Ends the tracks at these rows.
    pub(super) fn end_tracks(&mut self, rows: &BTreeSet<usize>) {
        let mut row = 0;
        self.tracks.retain(|_| {
            row += 1;
            !rows.contains(&(row - 1))
        });
        self.memory.forget(rows);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.model.vision_batch().leave();
    }
}

impl Session {
    /// Starts a session and encodes its prompts. Prompts with equal tokens are tracked once.
    ///
    /// # Errors
    /// [`Error::Prompt`] if there is no prompt, or if one of them cannot be encoded.
    pub fn new(model: Arc<Model>, prompts: &[&str], options: SessionOptions) -> Result<Self> {
        let rules = model.tracker.rules(&model.config, &options);
        let prompts = unique_prompts(&model, prompts, rules.quirks.repeats_equal_prompts)?;
        let encode =
            |(_, t): &(String, PromptTokens)| Ok(model.detector.text_encoder.forward(&t.ids, &t.is_word)?);
        let prompt_features = prompts.iter().map(encode).collect::<Result<_>>()?;
        let prompts = prompts.into_iter().map(|(prompt, _)| prompt).collect();
        let enlarger = Enlarger::new(model.config.low_res_mask_size, options.frame_size);
        let state = State::new(model.tracker.memory(&options));
        model.vision_batch().join();
        Ok(Self { model, options, rules, prompts, prompt_features, enlarger, synthetic: None, state })
    }

    /// A streaming session for 1080p frames that tracks `n` synthetic objects from its first frame on; for benchmarks.
    pub(crate) fn synthetic(model: Arc<Model>, n: usize) -> Result<Self> {
        let side = model.config.low_res_mask_size;
        let options = SessionOptions {
            max_objects: Some(n),
            retire_after: None,
            ..SessionOptions::new(Mode::Streaming, (1080, 1920))
        };
        let mut session = Self::new(model, &["basketball player"], options)?;
        session.synthetic = Some(SyntheticScene::new(n, side));
        Ok(session)
    }

    /// The distinct prompts, in the order that [`TrackedObject::prompt`] refers to.
    ///
    /// [`TrackedObject::prompt`]: crate::TrackedObject::prompt
    pub fn prompts(&self) -> &[String] {
        &self.prompts
    }

    /// Number of frames pushed so far.
    pub fn n_frames(&self) -> usize {
        self.state.n_frames
    }

    /// Number of new detections so far that were rejected because the limit of tracks was reached.
    pub fn n_rejected(&self) -> u64 {
        self.state.n_rejected
    }

    /// Number of frames that were pushed but not reported yet.
    pub fn n_pending(&self) -> usize {
        self.state.pending.len()
    }

    /// The id of the next new track: those of all tracks so far are smaller.
    pub fn next_id(&self) -> u64 {
        self.state.next_id
    }

    /// Largest number of tracks that one frame can report: those before it, and those born on it.
    pub fn max_reported(&self) -> usize {
        self.rules.max_tracks.saturating_mul(2)
    }

    /// Number of tracks after the last frame, hidden ones included.
    pub fn n_tracked(&self) -> usize {
        self.state.tracks.len()
    }

    /// Number of frames by which the output of a frame may be delayed.
    pub fn delay(&self) -> usize {
        match self.options.mode {
            Mode::Offline { .. } => self.rules.hotstart_delay.saturating_sub(1),
            Mode::Streaming => 0,
        }
    }

    /// Bytes of the tracker's memory and of the masks of pending frames.
    pub fn size_bytes(&self) -> usize {
        let masks = self.state.pending.iter().flat_map(|frame| &frame.masks);
        let pending: usize = masks.map(|m| m.logits.len() * size_of::<f32>()).sum();
        self.state.memory.size_bytes() + pending
    }

    /// What the tracker remembers, for its tests.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> &Memory {
        &self.state.memory
    }

    /// Fills holes and removes specks, up to the size that the rules say.
    pub(super) fn clean(&self, logits: &mut [f32]) {
        let side = self.model.config.low_res_mask_size;
        fill_holes_and_remove_specks(logits, side, self.rules.max_cleaned_area);
    }
}

/// The prompts with their tokens, each only once. The tokenizer ignores case and repeated spaces, so that prompts with
/// different text may have equal tokens; `by_text` distinguishes them as the reference does.
fn unique_prompts(model: &Model, prompts: &[&str], by_text: bool) -> Result<Vec<(String, PromptTokens)>> {
    if prompts.is_empty() {
        let why = "no prompt; name at least one kind of object to track".to_owned();
        return Err(Error::Prompt { prompt: String::new(), why });
    }
    let mut unique: Vec<(String, PromptTokens)> = Vec::new();
    for prompt in prompts {
        let tokens = model.tokenizer.encode(prompt)?;
        let is_same =
            |(text, known): &(String, PromptTokens)| text == prompt || (!by_text && *known == tokens);
        if !unique.iter().any(is_same) {
            unique.push(((*prompt).to_owned(), tokens));
        }
    }
    Ok(unique)
}
