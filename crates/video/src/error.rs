//! The crate's one error type. A variant exists where a caller acts on the difference: install a
//! tool, refuse the upload, try again, or stop quietly. Each message names the file, what is wrong
//! with it and the way out.

use std::path::{Path, PathBuf};

/// Why a video could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// `ffmpeg` or `ffprobe` is missing, too old or does not run: the machine needs setting up.
    #[error(
        "{0}. Install ffmpeg 5.1 or newer (`apt-get install ffmpeg` or `brew install ffmpeg`), or name the \
         programs in COURTSIDE_FFMPEG and COURTSIDE_FFPROBE"
    )]
    Tools(String),

    /// The operating system refused something; another attempt may work.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// The file or program concerned.
        path: PathBuf,
        /// What was being done, as in "cannot open".
        action: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },

    /// The file is not a video that can be read; another attempt will not help.
    #[error("{} is not a readable video: {detail}", path.display())]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out where there is one.
        detail: String,
    },

    /// A video, but of a codec that is not taken; converting it helps.
    #[error(
        "{} is encoded as {codec}, which is not supported. Convert it first: \
         ffmpeg -i INPUT -c:v libx264 -c:a aac OUTPUT.mp4",
        path.display()
    )]
    UnsupportedCodec {
        /// The file.
        path: PathBuf,
        /// ffmpeg's name of the codec.
        codec: String,
    },

    /// The video is beyond one of the [`Limits`](crate::Limits).
    #[error("{} is too large: {detail}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Which limit it breaks, with both numbers.
        detail: String,
    },

    /// The child process gave no sign of life for [`Limits::stall_timeout`](crate::Limits) and was killed.
    #[error(
        "{} {action} without progress for {seconds} s; the process was killed. Try again, and check the disk that \
         holds it",
        path.display()
    )]
    Stalled {
        /// The file.
        path: PathBuf,
        /// What was being done, as in "was being decoded".
        action: &'static str,
        /// How long nothing happened, in seconds.
        seconds: u64,
    },

    /// Decoding failed as a whole (damage to parts is counted in [`Damage`](crate::Damage) instead).
    #[error("{} could not be decoded: {detail}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's last words.
        detail: String,
    },

    /// Writing the annotated video failed; nothing is left behind.
    #[error("{} could not be written: {detail}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The encoder's last words.
        detail: String,
    },

    /// The caller's progress callback asked to stop; nothing is left behind.
    #[error("cancelled")]
    Cancelled,
}

impl VideoError {
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        VideoError::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn not_video(path: &Path, detail: impl Into<String>) -> Self {
        VideoError::NotVideo { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn too_large(path: &Path, detail: String) -> Self {
        VideoError::TooLarge { path: path.to_owned(), detail }
    }

    pub(crate) fn stalled(path: &Path, action: &'static str, timeout: std::time::Duration) -> Self {
        VideoError::Stalled { path: path.to_owned(), action, seconds: timeout.as_secs() }
    }

    pub(crate) fn decode(path: &Path, detail: impl Into<String>) -> Self {
        VideoError::Decode { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn encode(path: &Path, detail: impl Into<String>) -> Self {
        VideoError::Encode { path: path.to_owned(), detail: detail.into() }
    }
}
