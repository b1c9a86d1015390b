//! Errors of the engine. A variant exists only if a caller handles it in its own way.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the model folder is missing, damaged, or of another family of models.
    #[error("model {path}: {what}")]
    Model {
        /// Path of the file, or of the folder if no file can be named.
        path: PathBuf,
        /// The problem, and how to fix it.
        what: String,
    },
    /// A value of `config.json` is not implemented or contradicts another value.
    #[error("config.json: {key} = {value} is not supported: {why}")]
    Config {
        /// Path of the key inside `config.json`, with dots between levels.
        key: String,
        /// The value of the key.
        value: String,
        /// Which values are supported.
        why: String,
    },
    /// The model's tensors do not match its config.
    #[error("the tensors do not match config.json:\n  {}", .problems.join("\n  "))]
    Tensors {
        /// One line for each tensor, with its key and both shapes.
        problems: Vec<String>,
    },
    /// A prompt cannot be encoded.
    #[error("prompt {}: {why}", beginning(prompt))]
    Prompt {
        /// The prompt as it was passed in; empty if there was none.
        prompt: String,
        /// The reason, and how to fix it.
        why: String,
    },
    /// A frame does not have the session's frame size, or exceeds the number of frames of offline mode.
    #[error("frame {frame_idx}: {what}")]
    Frame {
        /// Index of the frame within the session, from 0.
        frame_idx: usize,
        /// The expected and the actual value.
        what: String,
    },
    /// A saved session is damaged, or belongs to another model, other prompts or other options.
    #[error("saved session {path}: {what}")]
    SavedSession {
        /// Where the saved session came from.
        path: PathBuf,
        /// The problem, and how to fix it.
        what: String,
    },
    /// A device cannot be used.
    #[error("device {device}: {what}")]
    Device {
        /// Name of the device, such as `cuda:0`.
        device: String,
        /// What is missing, and how to fix it.
        what: String,
    },
    /// An operation of the tensor library failed: an internal error, or the device is out of memory (see
    /// [`Error::is_out_of_memory`]).
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A prompt for a message. It may be of any length; a hundred characters tell which one it is.
fn beginning(prompt: &str) -> String {
    match prompt.char_indices().nth(100) {
        Some((end, _)) => format!("{:?}...", &prompt[..end]),
        None => format!("{prompt:?}"),
    }
}

impl Error {
    /// Whether the device ran out of memory. Smaller batches may succeed.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Tensor(error) = self else { return false };
        // The library wraps the error codes of the driver, of cuBLAS and of Metal in its own errors.
        const CODES: [&str; 4] = ["OUT_OF_MEMORY", "ALLOC_FAILED", "out of memory", "FailedToCreateResource"];
        let text = format!("{error:?}");
        CODES.iter().any(|code| text.contains(code))
    }
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
