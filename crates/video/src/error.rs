//! The crate's error type. Each variant is handled differently by some caller: install a tool,
//! reject the upload, retry, or stop quietly. Messages name the file, the problem and the fix.

use std::path::{Path, PathBuf};

/// Why a video could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// `ffmpeg` or `ffprobe` is missing, too old, or does not run. Install it or fix the setup.
    #[error(
        "{0}. Install ffmpeg 5.1 or newer (`apt-get install ffmpeg` or `brew install ffmpeg`), or set \
         COURTSIDE_FFMPEG and COURTSIDE_FFPROBE to the paths of the programs"
    )]
    Tools(String),

    /// ffmpeg cannot be sandboxed, or does not run inside its sandbox.
    #[error(
        "ffmpeg cannot decode in a sandbox: {0}. Use ffmpeg from the packages of your system and a kernel with \
         Landlock (Linux 5.13 or newer), or pass --no-sandbox if you trust the videos"
    )]
    Sandbox(String),

    /// A system call failed. A retry may succeed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// The file or program that the operation was about.
        path: PathBuf,
        /// The failed operation, such as "cannot open".
        action: &'static str,
        /// The error from the operating system.
        source: std::io::Error,
    },

    /// The file is not a readable video. A retry does not help.
    #[error("{} is not a readable video: {detail}", path.display())]
    NotVideo {
        /// Path of the video file.
        path: PathBuf,
        /// What is wrong with the file, and how to fix it if that is known.
        detail: String,
    },

    /// The file is a video with an unsupported codec. Converting it helps.
    #[error("{} is encoded as {codec}, which is not supported. Convert it first: {}", path.display(), conversion(path, Some(*stream)))]
    UnsupportedCodec {
        /// Path of the video file.
        path: PathBuf,
        /// Number of the stream.
        stream: u32,
        /// The codec, as ffmpeg names it.
        codec: String,
    },

    /// The file has other video streams than the one that was asked for.
    #[error("{} has no video stream {wanted}; it has {found}", path.display())]
    NoSuchStream {
        /// Path of the video file.
        path: PathBuf,
        /// Number of the stream that was asked for.
        wanted: u32,
        /// The video streams of the file, described for the user.
        found: String,
    },

    /// The file is a video in an unsupported container. Converting it helps.
    #[error("{} is in the {container} format, which is not supported. Convert it first: {}", path.display(), conversion(path, None))]
    UnsupportedContainer {
        /// Path of the video file.
        path: PathBuf,
        /// The name of the container, such as "MXF".
        container: String,
    },

    /// The video exceeds one of the [`Limits`](crate::Limits).
    #[error("{} is too large: {detail}", path.display())]
    TooLarge {
        /// Path of the video file.
        path: PathBuf,
        /// The limit that is exceeded, and by how much.
        detail: String,
    },

    /// The child process made no progress for [`Limits::stall_timeout`](crate::Limits) and was killed.
    #[error(
        "{} {action} without progress for {seconds} s, and the process was killed. Check the disk that the file \
         is on, then try again",
        path.display()
    )]
    Stalled {
        /// Path of the video file.
        path: PathBuf,
        /// The operation that stalled, such as "was being decoded".
        action: &'static str,
        /// Time without progress, in seconds.
        seconds: u64,
    },

    /// Decoding failed completely. Partial damage is counted in [`Damage`](crate::Damage) instead.
    #[error("{} could not be decoded: {detail}", path.display())]
    Decode {
        /// Path of the video file.
        path: PathBuf,
        /// The error messages of the decoder.
        detail: String,
    },

    /// Writing the annotated video failed. No file is left behind.
    #[error("{} could not be written: {detail}", path.display())]
    Encode {
        /// Path of the output file.
        path: PathBuf,
        /// The error messages of the encoder.
        detail: String,
    },

    /// The caller's progress callback cancelled the operation. No file is left behind.
    #[error("cancelled")]
    Cancelled,
}

impl VideoError {
    /// Whether the file, or what was asked of it, is at fault: a retry does not help.
    pub fn is_of_the_file(&self) -> bool {
        matches!(
            self,
            Self::NotVideo { .. }
                | Self::UnsupportedCodec { .. }
                | Self::UnsupportedContainer { .. }
                | Self::NoSuchStream { .. }
                | Self::TooLarge { .. }
                | Self::Decode { .. }
        )
    }

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

/// The command that converts a video, or one of its streams and the sound, to a supported codec and container, as it can be
/// typed anywhere. It writes to the working folder.
fn conversion(path: &Path, stream: Option<u32>) -> String {
    let quoted = |path: &Path| format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"));
    let output = Path::new(".").join(path.with_extension("converted.mp4").file_name().unwrap_or_default());
    let map = stream.map(|stream| format!(" -map 0:{stream} -map '0:a?'")).unwrap_or_default();
    format!("`ffmpeg -i {}{map} -c:v libx264 -crf 18 -c:a aac {}`", quoted(path), quoted(&output))
}
