//! A session in a file: safetensors, with the numbers as JSON in its metadata.
//!
//! A session that was written and read goes on bit for bit as if it had never stopped. The file names the
//! checkpoint, the prompts and the options it belongs to, and is refused with any others. A digest over the
//! numbers and the tensors tells a damaged file.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::lifecycle::Overlaps;
use super::track::{Facts, Track};
use super::{Concession, LowResMask, Session, SessionOptions, State, Unreported};
use crate::error::{Error, Result};
use crate::fnv::Fnv;
use crate::model::Model;
use crate::tracker::bank::{At, Bank};

/// Version of the file's layout.
const VERSION: u32 = 1;
/// Key of the digest and the JSON in the file's metadata.
const KEY: &str = "courtside.session";
/// Stands where the digest will be: 16 hexadecimal digits.
const NO_DIGEST: &str = "0000000000000000";

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    fingerprint: String,
    prompts: Vec<String>,
    options: SessionOptions,
    n_frames: usize,
    next_id: u64,
    overlaps: Overlaps,
    withdrawn: Vec<(u64, usize)>,
    n_turned_away: u64,
    #[serde(default)]
    concessions: Vec<Concession>,
    tracks: Vec<SavedTrack>,
    waiting: Vec<SavedFrame>,
}

#[derive(Serialize, Deserialize)]
struct SavedTrack {
    facts: Facts,
    /// Frames of the four lists of the bank, in the order of [`lists`].
    frames: [Vec<usize>; 4],
}

#[derive(Serialize, Deserialize)]
struct SavedFrame {
    frame_idx: usize,
    removed: Vec<u64>,
    suppressed: Vec<u64>,
    /// Id, prompt, score and tracker score of each mask.
    masks: Vec<(u64, usize, f32, f32)>,
}

/// Names of a bank's lists in the file.
const LISTS: [&str; 4] = ["cond_memories", "memories", "cond_pointers", "pointers"];

fn lists(bank: &Bank) -> [&Vec<At<Tensor>>; 4] {
    [&bank.cond_memories, &bank.memories, &bank.cond_pointers, &bank.pointers]
}

impl Session {
    /// Writes the session to a file, whole or not at all (temporary name, fsync, rename).
    ///
    /// # Errors
    /// [`Error::Io`] with the file's name.
    pub fn save(&self, path: &Path) -> Result<()> {
        let io = |source: std::io::Error| Error::Io { path: path.to_owned(), source };
        let bytes = self.to_bytes()?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Removed again if anything fails before it has its name.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
        std::io::Write::write_all(&mut file, &bytes).map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|e| io(e.error))?;
        Ok(())
    }

    /// The session as the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (i, track) in self.state.tracks.iter().enumerate() {
            for (name, list) in LISTS.iter().zip(lists(&track.bank)) {
                if list.is_empty() {
                    continue;
                }
                let rows: Vec<&Tensor> = list.iter().map(|at| &at.value).collect();
                tensors.push((format!("tracks.{i}.{name}"), Tensor::stack(&rows, 0)?));
            }
        }
        for frame in &self.state.waiting {
            for (k, mask) in frame.masks.iter().enumerate() {
                let name = format!("waiting.{}.{k}", frame.frame_idx);
                tensors.push((name, Tensor::new(mask.logits.as_slice(), &Device::Cpu)?));
            }
        }
        let json = serde_json::to_string(&self.saved()).map_err(std::io::Error::from);
        let json = json.map_err(|source| Error::Io { path: KEY.into(), source })?;
        let metadata = HashMap::from([(KEY.to_owned(), format!("{NO_DIGEST}{json}"))]);
        let bytes = safetensors::serialize(tensors, Some(metadata));
        let bytes = bytes.map_err(|e| Error::Tensor(candle_core::Error::wrap(e)))?;
        Ok(with_digest(bytes, &json))
    }

    fn saved(&self) -> Saved {
        let state = &self.state;
        let frames = |list: &Vec<At<Tensor>>| list.iter().map(|at| at.frame_idx).collect();
        let mask = |m: &LowResMask| (m.id, m.prompt, m.score, m.tracker_score);
        Saved {
            version: VERSION,
            fingerprint: self.model.fingerprint.clone(),
            prompts: self.prompts.clone(),
            options: self.options.clone(),
            n_frames: state.n_frames,
            next_id: state.next_id,
            overlaps: state.overlaps.clone(),
            withdrawn: state.withdrawn.clone(),
            n_turned_away: state.n_turned_away,
            concessions: state.concessions.clone(),
            tracks: state
                .tracks
                .iter()
                .map(|t| SavedTrack { facts: t.facts.clone(), frames: lists(&t.bank).map(frames) })
                .collect(),
            waiting: state
                .waiting
                .iter()
                .map(|w| SavedFrame {
                    frame_idx: w.frame_idx,
                    removed: w.removed.clone(),
                    suppressed: w.suppressed.clone(),
                    masks: w.masks.iter().map(mask).collect(),
                })
                .collect(),
        }
    }

    /// Continues a session that [`Self::save`] wrote. Prompts and options must be those it was started with.
    ///
    /// # Errors
    /// [`Error::SavedSession`] if the file is damaged or belongs to another checkpoint, prompts or options.
    pub fn load(model: Arc<Model>, prompts: &[&str], options: SessionOptions, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_bytes(model, prompts, options, &bytes, path)
    }

    /// Like [`Self::load`], from bytes that came from `path`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_bytes(
        model: Arc<Model>,
        prompts: &[&str],
        options: SessionOptions,
        bytes: &[u8],
        path: &Path,
    ) -> Result<Self> {
        let wrong = |what: &str| Error::SavedSession { path: path.to_owned(), what: what.to_owned() };
        let damaged = || wrong("not a whole session file; delete it to start from the beginning");
        let (header_len, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(|_| damaged())?;
        let value = header.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or_else(damaged)?;
        let (stored, json) = value.split_at_checked(NO_DIGEST.len()).ok_or_else(damaged)?;
        if stored != digest(json, &bytes[LEN_BYTES + header_len..]) {
            return Err(damaged());
        }
        let saved: Saved = serde_json::from_str(json).map_err(|_| damaged())?;
        if saved.version != VERSION {
            return Err(wrong(&format!("layout {}, this program reads {VERSION}", saved.version)));
        }
        let mut session = Self::new(model, prompts, options)?;
        for (same, what) in [
            (saved.fingerprint == session.model.fingerprint, "of another checkpoint"),
            (saved.prompts == session.prompts, "of other prompts"),
            (saved.options == session.options, "of other options or another video"),
        ] {
            if !same {
                return Err(wrong(&format!("{what}; use the same ones, or delete it to start again")));
            }
        }
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(|_| damaged())?;
        session.state = session.restore(saved, &tensors).ok_or_else(damaged)?;
        Ok(session)
    }

    /// The state of a file whose header was accepted; `None` if its tensors do not fit the header.
    fn restore(&self, saved: Saved, tensors: &HashMap<String, Tensor>) -> Option<State> {
        let config = &self.model.config;
        let m = config.tracker_config.memory_encoder_output_channels;
        let memory = (vec![config.grid() * config.grid(), m], DType::BF16);
        let pointer =
            (vec![config.detector_config.vision_config.fpn_hidden_size], self.model.precision.activations());
        let shapes = [&memory, &memory, &pointer, &pointer];
        let mut tracks = Vec::with_capacity(saved.tracks.len());
        for (i, track) in saved.tracks.into_iter().enumerate() {
            let mut read = Vec::with_capacity(LISTS.len());
            for ((name, frames), shape) in LISTS.iter().zip(&track.frames).zip(shapes) {
                read.push(read_list(
                    tensors.get(&format!("tracks.{i}.{name}")),
                    frames,
                    shape,
                    &self.model.device,
                )?);
            }
            let mut read = read.into_iter();
            let mut next = || read.next();
            let bank =
                Bank { cond_memories: next()?, memories: next()?, cond_pointers: next()?, pointers: next()? };
            tracks.push(Track { facts: track.facts, bank });
        }
        let n_logits = config.low_res_mask_size * config.low_res_mask_size;
        let mut waiting = VecDeque::with_capacity(saved.waiting.len());
        for frame in saved.waiting {
            let mut masks = Vec::with_capacity(frame.masks.len());
            for (k, (id, prompt, score, tracker_score)) in frame.masks.into_iter().enumerate() {
                let stored = tensors.get(&format!("waiting.{}.{k}", frame.frame_idx))?;
                let logits = stored.to_vec1::<f32>().ok().filter(|l| l.len() == n_logits)?;
                masks.push(LowResMask { id, prompt, logits, score, tracker_score });
            }
            let (removed, suppressed) = (frame.removed, frame.suppressed);
            waiting.push_back(Unreported { frame_idx: frame.frame_idx, masks, removed, suppressed });
        }
        Some(State {
            n_frames: saved.n_frames,
            next_id: saved.next_id,
            tracks,
            overlaps: saved.overlaps,
            waiting,
            withdrawn: saved.withdrawn,
            n_turned_away: saved.n_turned_away,
            concessions: saved.concessions,
        })
    }
}

/// Bytes of the header's length at the start of a safetensors file.
const LEN_BYTES: usize = size_of::<u64>();

/// Puts the digest where [`NO_DIGEST`] stands in a file whose JSON is `json`.
fn with_digest(mut bytes: Vec<u8>, json: &str) -> Vec<u8> {
    let place = format!("\"{KEY}\":\"{NO_DIGEST}");
    let found = bytes.windows(place.len()).position(|w| w == place.as_bytes());
    let header_len = bytes.first_chunk().map_or(0, |len| u64::from_le_bytes(*len)) as usize;
    if let Some(start) = found {
        let digest = digest(json, &bytes[LEN_BYTES + header_len..]);
        bytes[start + place.len() - digest.len()..start + place.len()].copy_from_slice(digest.as_bytes());
    }
    bytes
}

/// Over the JSON and the tensors' bytes: tells a damaged file, not a forged one.
fn digest(json: &str, data: &[u8]) -> String {
    format!("{:016x}", Fnv::default().add_words(json.as_bytes()).add_words(data).value())
}

/// One list of a bank: a row of the stacked tensor for each frame.
fn read_list(
    stacked: Option<&Tensor>,
    frames: &[usize],
    (shape, dtype): &(Vec<usize>, DType),
    device: &Device,
) -> Option<Vec<At<Tensor>>> {
    if frames.is_empty() {
        return Some(Vec::new());
    }
    let stacked = stacked?;
    if stacked.dim(0).ok()? != frames.len() || stacked.dims()[1..] != shape[..] || stacked.dtype() != *dtype {
        return None;
    }
    let row = |(i, &frame_idx): (usize, &usize)| {
        let value =
            stacked.get(i).and_then(|t| t.force_contiguous()).and_then(|t| t.to_device(device)).ok()?;
        Some(At { frame_idx, value })
    };
    frames.iter().enumerate().map(row).collect()
}
