//! A video being tracked: frames in, tracks out, constant memory.
//!
//! [`Session::push`] runs the whole per-frame procedure of the reference (`_det_track_one_frame`): detect,
//! carry objects over, match, judge, recondition, suppress, remember, admit, withdraw, report. In offline
//! mode a frame is reported [`VideoConfig::hotstart_delay`] − 1 frames later, when it is known which of its
//! tracks were withdrawn; in streaming mode at once, and nothing is withdrawn.
//!
//! [`VideoConfig::hotstart_delay`]: crate::VideoConfig::hotstart_delay

mod association;
mod compat;
mod concession;
mod frame;
mod lifecycle;
mod output;
mod rehearsal;
mod store;
mod suppression;
#[cfg(test)]
mod tests;
mod track;

use std::collections::VecDeque;
use std::sync::Arc;

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use compat::Compat;
pub use concession::Concession;
pub use frame::Prepared;
pub use output::{FrameOutput, LowResMask, Mask, TrackedObject};

use crate::detector::text::PromptFeatures;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tokenizer::PromptTokens;
use crate::tracker::OBJECTS_AT_ONCE;
use crate::tracker::bank::BankLimits;
use lifecycle::Overlaps;
use output::{Enlarger, resolve_overlaps};
use rehearsal::Rehearsal;
use track::Track;

/// Whether the number of frames is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A video of so many frames: outputs wait until wrong tracks have been withdrawn.
    Offline {
        /// Frames that will be pushed.
        n_frames: usize,
    },
    /// No end in sight: every frame is reported at once.
    Streaming,
}

/// How to track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Offline or streaming.
    pub mode: Mode,
    /// Which quirks of the reference to keep.
    pub compat: Compat,
    /// Height and width of the source frames, in pixels.
    pub frame_size: (usize, usize),
    /// Most objects at a time, below the checkpoint's own limit; bounds memory and time in a crowd.
    pub max_objects: Option<usize>,
    /// Frames without any matching detection after which an object is gone for good and stops costing; it
    /// gets a new id if it is ever found again. `None` keeps it for ever. [`Compat::Reference`] never
    /// retires.
    pub retire_after: Option<usize>,
}

/// Ten seconds at 30 frames per second.
pub const DEFAULT_RETIRE_AFTER: usize = 300;

impl SessionOptions {
    /// The defaults for frames of a size.
    pub fn new(mode: Mode, frame_size: (usize, usize)) -> Self {
        Self {
            mode,
            compat: Compat::Fixed,
            frame_size,
            max_objects: None,
            retire_after: Some(DEFAULT_RETIRE_AFTER),
        }
    }
}

/// A frame to track.
pub enum Frame<'a> {
    /// A picture of the session's frame size, `height · width · 3` bytes.
    Rgb(&'a [u8]),
    /// Pixel values `[1, size, size, 3]`, resized and normalised as the checkpoint wants them.
    PixelValues(&'a Tensor),
}

/// The state of one video.
pub struct Session {
    model: Arc<Model>,
    options: SessionOptions,
    prompts: Vec<String>,
    prompt_features: Vec<PromptFeatures>,
    enlarger: Enlarger,
    limits: BankLimits,
    /// Objects that go through a stage together.
    at_once: usize,
    /// In benchmarks, what is played instead of what was found.
    rehearsal: Option<Rehearsal>,
    state: State,
}

/// Everything that changes from frame to frame.
#[derive(Debug, Default)]
struct State {
    /// Frames pushed so far.
    n_frames: usize,
    next_id: u64,
    tracks: Vec<Track>,
    overlaps: Overlaps,
    /// Frames not yet reported.
    waiting: VecDeque<Unreported>,
    /// New detections for which there was no room, over all frames.
    n_turned_away: u64,
    /// Ids withdrawn while frames that show them are waiting, with the frame of the withdrawal.
    withdrawn: Vec<(u64, usize)>,
    /// What was given up for lack of device memory.
    concessions: Vec<Concession>,
}

/// A frame that waits for what the next ones say about its tracks.
#[derive(Debug, Clone)]
struct Unreported {
    frame_idx: usize,
    masks: Vec<LowResMask>,
    removed: Vec<u64>,
    suppressed: Vec<u64>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.model.vision_batch().leave();
    }
}

impl Session {
    /// Starts a session; prompts are encoded here, once. Prompts of the same tokens count once.
    ///
    /// # Errors
    /// [`Error::Prompt`] for a prompt that cannot be encoded or if there is none.
    pub fn new(model: Arc<Model>, prompts: &[&str], options: SessionOptions) -> Result<Self> {
        if prompts.is_empty() {
            let why = "there is none; say what to track".to_owned();
            return Err(Error::Prompt { prompt: String::new(), why });
        }
        let mut unique: Vec<(String, PromptTokens)> = Vec::new();
        for prompt in prompts {
            let tokens = model.tokenizer.encode(prompt)?;
            // The reference compares the words; the tokenizer folds upper case and spaces.
            let same = |(word, known): &(String, PromptTokens)| {
                word == prompt || (!options.compat.is_reference() && *known == tokens)
            };
            if !unique.iter().any(same) {
                unique.push(((*prompt).to_owned(), tokens));
            }
        }
        let encode =
            |(_, t): &(String, PromptTokens)| Ok(model.detector.text_encoder.forward(&t.ids, &t.is_word)?);
        let prompt_features = unique.iter().map(encode).collect::<Result<_>>()?;
        let unique = unique.into_iter().map(|(prompt, _)| prompt).collect();
        let limits = BankLimits::new(&model.config.tracker_config, options.compat.is_reference());
        let enlarger = Enlarger::new(model.config.low_res_mask_size, options.frame_size);
        model.vision_batch().join();
        Ok(Self {
            model,
            options,
            prompts: unique,
            prompt_features,
            enlarger,
            limits,
            at_once: OBJECTS_AT_ONCE,
            rehearsal: None,
            state: State::default(),
        })
    }

    /// The prompts, in the order that [`TrackedObject::prompt`] counts them.
    pub fn prompts(&self) -> &[String] {
        &self.prompts
    }

    /// Frames pushed so far.
    pub fn n_frames(&self) -> usize {
        self.state.n_frames
    }

    /// New detections so far that did not become objects because the limit of objects was reached.
    pub fn n_turned_away(&self) -> u64 {
        self.state.n_turned_away
    }

    /// Objects that the next frame will carry on.
    pub fn n_tracked(&self) -> usize {
        self.state.tracks.len()
    }

    /// Frames that a frame's output may wait for.
    pub fn delay(&self) -> usize {
        match self.options.mode {
            Mode::Offline { .. } => self.model.config.hotstart_delay.saturating_sub(1),
            Mode::Streaming => 0,
        }
    }

    /// Bytes of the session's tensors and waiting masks.
    pub fn size_bytes(&self) -> usize {
        let banks: usize = self.state.tracks.iter().map(|t| t.bank.size_bytes()).sum();
        let waiting = self.state.waiting.iter().flat_map(|w| &w.masks);
        banks + waiting.map(|m| m.logits.len() * size_of::<f32>()).sum::<usize>()
    }

    /// Tracks one frame; returns the frames that are now certain, oldest first.
    ///
    /// # Errors
    /// [`Error::Frame`] for a frame of the wrong size, or beyond the number that offline mode was told;
    /// [`Error::Tensor`] if the device fails. After an error
    /// the session is as it was before the call.
    pub fn push(&mut self, frame: Frame<'_>) -> Result<Vec<FrameOutput>> {
        let prepared = self.prepare(&frame)?;
        Ok(self.push_prepared(&prepared, None)?.0)
    }

    /// Looks at a picture as far as it goes without knowing what is being tracked: the vision encoder, both
    /// necks and the detector. On a GPU the work is queued, and nothing waits for it.
    ///
    /// # Errors
    /// [`Error::Frame`] for a frame of the wrong size; [`Error::Tensor`] if the device fails.
    pub fn prepare(&self, frame: &Frame<'_>) -> Result<Prepared> {
        self.look(&self.pixel_values(frame)?)
    }

    /// Like [`Self::push`], with the next frame at hand: the device prepares it while the host decides about
    /// this one. Returns it as well, unless there is none or it could not be prepared; then [`Self::prepare`]
    /// tells why.
    ///
    /// When the device's memory does not suffice, the frame is tried again with fewer objects at a time, and
    /// then with fewer objects; see [`Self::concessions`].
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_prepared(
        &mut self,
        frame: &Prepared,
        next: Option<&Frame<'_>>,
    ) -> Result<(Vec<FrameOutput>, Option<Prepared>)> {
        if let Mode::Offline { n_frames } = self.options.mode
            && self.state.n_frames >= n_frames
        {
            let what = format!("one more than the {n_frames} that were announced");
            return Err(Error::Frame { frame_idx: self.state.n_frames, what });
        }
        let (mut next, mut ahead) = (next, None);
        let unreported = loop {
            match self.track_frame(frame, next, &mut ahead) {
                Ok(unreported) => break unreported,
                // The next frame takes memory too, and can be prepared later.
                Err(e) if e.is_out_of_memory() && (next.take().is_some() || self.concede()) => ahead = None,
                Err(e) => return Err(e),
            }
        };
        self.state.n_frames += 1;
        self.state.waiting.push_back(unreported);
        let n_ready = match self.options.mode {
            Mode::Streaming => self.state.waiting.len(),
            Mode::Offline { n_frames } if self.state.n_frames >= n_frames => self.state.waiting.len(),
            Mode::Offline { .. } => self.state.waiting.len().saturating_sub(self.delay()),
        };
        Ok((self.report(n_ready), ahead))
    }

    /// Ends the video, whether or not all frames came; returns what was still waiting.
    pub fn finish(&mut self) -> Vec<FrameOutput> {
        self.report(self.state.waiting.len())
    }

    pub(super) fn pixel_values(&self, frame: &Frame<'_>) -> Result<Tensor> {
        let wrong = |what: String| Error::Frame { frame_idx: self.state.n_frames, what };
        match frame {
            Frame::Rgb(rgb) => {
                let (height, width) = self.options.frame_size;
                let want = height * width * 3;
                if want == 0 || rgb.len() != want {
                    let got = rgb.len();
                    return Err(wrong(format!("{got} bytes, but {width}x{height} RGB takes {want}")));
                }
                let dtype = self.model.precision.activations();
                self.model.preprocess.pixel_values(rgb, (height, width), dtype, &self.model.device)
            }
            Frame::PixelValues(values) => {
                let size = self.model.config.image_size();
                if values.dims() != [1, size, size, 3] {
                    let got = values.shape();
                    return Err(wrong(format!("pixel values {got:?}, expected [1, {size}, {size}, 3]")));
                }
                Ok(values.to_dtype(self.model.precision.activations())?.to_device(&self.model.device)?)
            }
        }
    }

    /// Takes the oldest `n` waiting frames, without what has been withdrawn or hidden.
    fn report(&mut self, n: usize) -> Vec<FrameOutput> {
        let ready: Vec<Unreported> = self.state.waiting.drain(..n).collect();
        let outputs = ready.into_iter().map(|u| self.post_process(u)).collect();
        let oldest = self.state.waiting.front().map_or(self.state.n_frames, |w| w.frame_idx);
        self.state.withdrawn.retain(|(_, at)| *at >= oldest);
        outputs
    }

    fn post_process(&self, frame: Unreported) -> FrameOutput {
        let hidden = |id: u64| {
            frame.suppressed.contains(&id) || self.state.withdrawn.iter().any(|(gone, _)| *gone == id)
        };
        let visible: Vec<&LowResMask> = frame.masks.iter().filter(|m| !hidden(m.id)).collect();
        let enlarged: Vec<(&LowResMask, Mask)> =
            visible.into_par_iter().filter_map(|m| Some((m, self.enlarger.enlarge(&m.logits)?))).collect();
        let (sources, mut masks): (Vec<&LowResMask>, Vec<Mask>) = enlarged.into_iter().unzip();
        // Boxes come before overlaps are resolved, as in the reference.
        let boxes: Vec<[f32; 4]> = masks.iter().map(|m| self.bbox(m)).collect();
        let prompts: Vec<usize> = sources.iter().map(|m| m.prompt).collect();
        let tracker_scores: Vec<f32> = sources.iter().map(|m| m.tracker_score).collect();
        resolve_overlaps(&mut masks, &prompts, &tracker_scores);
        let objects = sources
            .iter()
            .zip(boxes)
            .zip(masks)
            .map(|((m, bbox), mask)| TrackedObject { id: m.id, prompt: m.prompt, score: m.score, bbox, mask })
            .collect();
        FrameOutput {
            frame_idx: frame.frame_idx,
            objects,
            removed: frame.removed,
            suppressed: frame.suppressed,
            low_res: frame.masks,
        }
    }

    /// Left, top, right, bottom of a mask in its smallest rectangle.
    fn bbox(&self, mask: &Mask) -> [f32; 4] {
        let last = usize::from(self.options.compat.is_reference());
        [mask.x, mask.y, mask.x + mask.width - last, mask.y + mask.height - last].map(|x| x as f32)
    }
}
