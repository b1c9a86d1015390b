//! Saved sessions: a safetensors file, with the numbers as JSON in its metadata.
//!
//! A session that was saved and loaded continues bit for bit as if it had not been interrupted. The file names the
//! model, the prompts and the options it belongs to and is rejected with any others. A digest over the numbers and the
//! tensors detects damage, and a state that no session can have is rejected. The field names are those of the first version of the format, and old files stay readable.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::lifecycle::DuplicateCounts;
use super::output::{LowResMask, MemoryFallback};
use super::state::{PendingFrame, Session, State};
use super::track::Track;
use crate::error::{Error, Result};
use crate::fnv::Fnv;
use crate::model::Model;
use crate::options::SessionOptions;
use crate::tracker::SavedRow;

/// Version of the file's layout.
const VERSION: u32 = 1;
/// Key of the digest and the JSON in the file's metadata.
const KEY: &str = "courtside.session";
/// Placeholder for the digest: 16 hexadecimal digits.
const NO_DIGEST: &str = "0000000000000000";
/// Bytes of the header's length at the start of a safetensors file.
const LEN_BYTES: usize = size_of::<u64>();

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    fingerprint: String,
    prompts: Vec<String>,
    options: SessionOptions,
    n_frames: usize,
    next_id: u64,
    #[serde(rename = "overlaps")]
    duplicates: DuplicateCounts,
    #[serde(rename = "withdrawn")]
    removed: Vec<(u64, usize)>,
    #[serde(rename = "n_turned_away")]
    n_rejected: u64,
    #[serde(default, rename = "concessions")]
    memory_fallbacks: Vec<MemoryFallback>,
    tracks: Vec<SavedTrack>,
    #[serde(rename = "waiting")]
    pending: Vec<SavedFrame>,
}

#[derive(Serialize, Deserialize)]
struct SavedTrack {
    #[serde(rename = "facts")]
    track: Track,
    /// The tracker's row of memory.
    #[serde(rename = "frames")]
    row: SavedRow,
}

#[derive(Serialize, Deserialize)]
struct SavedFrame {
    frame_idx: usize,
    removed: Vec<u64>,
    #[serde(rename = "suppressed")]
    hidden: Vec<u64>,
    /// Id, prompt, score and tracker score of each mask.
    masks: Vec<(u64, usize, f32, f32)>,
}

/// Name of the tensor with the logits of a pending frame's mask.
fn mask_name(frame_idx: usize, mask: usize) -> String {
    format!("waiting.{frame_idx}.{mask}")
}

impl Session {
    /// Saves the session as the bytes of a safetensors file. Frames that were prepared but not pushed are not part of
    /// it.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let memory = self.state.memory.save()?;
        let mut tensors = memory.tensors;
        for frame in &self.state.pending {
            for (i, mask) in frame.masks.iter().enumerate() {
                let logits = Tensor::new(mask.logits.as_slice(), &Device::Cpu)?;
                tensors.push((mask_name(frame.frame_idx, i), logits));
            }
        }
        let json = serde_json::to_string(&self.saved(memory.rows)).map_err(candle_core::Error::wrap)?;
        let metadata = HashMap::from([(KEY.to_owned(), format!("{NO_DIGEST}{json}"))]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(candle_core::Error::wrap)?;
        Ok(with_digest(bytes, &json))
    }

    fn saved(&self, rows: Vec<SavedRow>) -> Saved {
        let state = &self.state;
        let track = |(track, row): (&Track, SavedRow)| SavedTrack { track: track.clone(), row };
        let mask = |m: &LowResMask| (m.id, m.prompt, m.score, m.tracker_score);
        let frame = |frame: &PendingFrame| SavedFrame {
            frame_idx: frame.frame_idx,
            removed: frame.removed.clone(),
            hidden: frame.hidden.clone(),
            masks: frame.masks.iter().map(mask).collect(),
        };
        Saved {
            version: VERSION,
            fingerprint: self.model.fingerprint.clone(),
            prompts: self.prompts.clone(),
            options: self.options.clone(),
            n_frames: state.n_frames,
            next_id: state.next_id,
            duplicates: state.duplicates.clone(),
            removed: state.removed.clone(),
            n_rejected: state.n_rejected,
            memory_fallbacks: state.memory_fallbacks.clone(),
            tracks: state.tracks.iter().zip(rows).map(track).collect(),
            pending: state.pending.iter().map(frame).collect(),
        }
    }

    /// Continues a session that [`Self::to_bytes`] saved, with the model, prompts and options that it was started
    /// with. `path` is where the bytes came from, for error messages.
    ///
    /// # Errors
    /// [`Error::SavedSession`] if the bytes are damaged, belong to another model, other prompts or other options, or
    /// have a state that no session can have; the errors of [`Self::new`].
    pub fn from_bytes(
        model: Arc<Model>,
        prompts: &[&str],
        options: SessionOptions,
        bytes: &[u8],
        path: &Path,
    ) -> Result<Self> {
        let wrong = |what: &str| Error::SavedSession { path: path.to_owned(), what: what.to_owned() };
        let damaged = || wrong("not a complete session file; delete it to start from the beginning");
        let (header_len, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(|_| damaged())?;
        let value = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(damaged)?;
        let (stored, json) = value.split_at_checked(NO_DIGEST.len()).ok_or_else(damaged)?;
        if stored != digest(json, &bytes[LEN_BYTES + header_len..]) {
            return Err(damaged());
        }
        let saved: Saved = serde_json::from_str(json).map_err(|_| damaged())?;
        if saved.version != VERSION {
            let found = saved.version;
            return Err(wrong(&format!("has layout {found}, but this program reads layout {VERSION}")));
        }
        let mut session = Self::new(model, prompts, options)?;
        for (is_same, what) in [
            (saved.fingerprint == session.model.fingerprint, "of another model"),
            (saved.prompts == session.prompts, "of other prompts"),
            (saved.options == session.options, "of other options or another video"),
        ] {
            if !is_same {
                return Err(wrong(&format!("{what}; use the same ones, or delete it to start again")));
            }
        }
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|_| damaged())?;
        let state = session.restore(saved, &tensors).ok_or_else(damaged)?;
        let impossible = |why| wrong(&format!("impossible: {why}; delete it to start from the beginning"));
        session.check(&state).map_err(impossible)?;
        session.state = state;
        Ok(session)
    }

    /// The state of a file whose header was accepted; `None` if its tensors do not match the header.
    fn restore(&self, saved: Saved, tensors: &HashMap<String, Tensor>) -> Option<State> {
        let (tracks, rows): (Vec<Track>, Vec<SavedRow>) =
            saved.tracks.into_iter().map(|saved| (saved.track, saved.row)).unzip();
        let side = self.model.config.low_res_mask_size;
        let frame = |frame: SavedFrame| {
            let mask = |(i, (id, prompt, score, tracker_score))| {
                let stored = tensors.get(&mask_name(frame.frame_idx, i))?;
                let logits = stored.to_vec1::<f32>().ok().filter(|l| l.len() == side * side)?;
                Some(LowResMask { id, prompt, logits, score, tracker_score })
            };
            let masks = frame.masks.into_iter().enumerate().map(mask).collect::<Option<_>>()?;
            let (removed, hidden) = (frame.removed, frame.hidden);
            Some(PendingFrame { frame_idx: frame.frame_idx, masks, removed, hidden })
        };
        Some(State {
            n_frames: saved.n_frames,
            next_id: saved.next_id,
            tracks,
            memory: self.model.tracker.load(&self.options, rows, tensors)?,
            duplicates: saved.duplicates,
            pending: saved.pending.into_iter().map(frame).collect::<Option<VecDeque<_>>>()?,
            n_rejected: saved.n_rejected,
            removed: saved.removed,
            memory_fallbacks: saved.memory_fallbacks,
        })
    }
}

/// Replaces [`NO_DIGEST`] by the digest in a file whose JSON is `json`.
fn with_digest(mut bytes: Vec<u8>, json: &str) -> Vec<u8> {
    let placeholder = format!("\"{KEY}\":\"{NO_DIGEST}");
    let found = bytes.windows(placeholder.len()).position(|w| w == placeholder.as_bytes());
    let header_len = bytes.first_chunk().map_or(0, |len| u64::from_le_bytes(*len)) as usize;
    if let Some(start) = found {
        let digest = digest(json, &bytes[LEN_BYTES + header_len..]);
        let end = start + placeholder.len();
        bytes[end - digest.len()..end].copy_from_slice(digest.as_bytes());
    }
    bytes
}

/// A digest of the JSON and of the tensors' bytes. It detects damage, not forgery.
fn digest(json: &str, data: &[u8]) -> String {
    format!("{:016x}", Fnv::default().add_words(json.as_bytes()).add_words(data).value())
}

/// A saved session with other numbers and tensors, and a digest that fits them.
#[cfg(test)]
pub(super) fn forged(
    bytes: &[u8],
    numbers: impl FnOnce(&mut serde_json::Value),
    tensors: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let (header_len, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    let json = &header.metadata().as_ref().unwrap()[KEY][NO_DIGEST.len()..];
    let mut value = serde_json::from_str(json).unwrap();
    numbers(&mut value);
    let json = value.to_string();
    let mut data = bytes.to_vec();
    tensors(&mut data[LEN_BYTES + header_len..]);
    let file = safetensors::SafeTensors::deserialize(&data).unwrap();
    let metadata = HashMap::from([(KEY.to_owned(), format!("{NO_DIGEST}{json}"))]);
    with_digest(safetensors::serialize(file.tensors(), Some(metadata)).unwrap(), &json)
}
