//! What can go wrong in the engine, one variant for each thing a caller does differently.

use std::path::PathBuf;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the checkpoint folder is missing or cannot be read.
    #[error("checkpoint {path}: {what}")]
    Checkpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// `config.json` asks for something that this code does not implement, or contradicts itself.
    #[error("config.json: {key} = {value} is not supported: {why}")]
    Config {
        /// Path of the key inside `config.json`, dots between levels.
        key: String,
        /// The value found there.
        value: String,
        /// What is supported instead.
        why: String,
    },
    /// Tensors of the checkpoint do not fit the config; every problem on its own line.
    #[error("the checkpoint does not fit its config.json:\n  {}", .problems.join("\n  "))]
    Tensors {
        /// One sentence per tensor: its key and both shapes.
        problems: Vec<String>,
    },
    /// A prompt cannot be encoded.
    #[error("prompt {prompt:?}: {why}")]
    Prompt {
        /// The prompt as given.
        prompt: String,
        /// Why it was refused and what to do.
        why: String,
    },
    /// A frame does not have the shape that it claims or that the session expects.
    #[error("frame {frame_idx}: {what}")]
    Frame {
        /// Index of the frame within the session, from 0.
        frame_idx: usize,
        /// What is wrong.
        what: String,
    },
    /// A saved session cannot be continued here.
    #[error("saved session {path}: {what}")]
    SavedSession {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An operating-system error on a named file.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A device cannot be used.
    #[error("device {device}: {what}")]
    Device {
        /// As it was named.
        device: String,
        /// What is missing and what to do.
        what: String,
    },
    /// The tensor library refused an operation: a bug here, or the device is out of memory.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Whether the device ran out of memory: less work at a time may succeed.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Tensor(error) = self else { return false };
        // The library wraps the driver's and cuBLAS's codes, and Metal's refusals, in errors of its own.
        const SAYS_SO: [&str; 4] =
            ["OUT_OF_MEMORY", "ALLOC_FAILED", "out of memory", "FailedToCreateResource"];
        let text = format!("{error:?}");
        SAYS_SO.iter().any(|code| text.contains(code))
    }
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
