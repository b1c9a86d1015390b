//! The sound of an annotated copy: codecs that MP4 supports are copied, other known codecs are
//! converted, and the rest is left out.

use crate::error::VideoError;
use crate::ffprobe::ffprobe;
use crate::header;
use crate::tools::Tools;
use crate::video::Video;

/// Codecs that are copied into the MP4 unchanged.
const COPIED: [&str; 7] = ["aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"];
/// Codecs converted to AAC; their decoders are in [`crate::args::AUDIO_DECODERS`].
const CONVERTED: [&str; 11] = [
    "vorbis",
    "mp2",
    "pcm_s16le",
    "pcm_s16be",
    "pcm_s24le",
    "pcm_s32le",
    "pcm_f32le",
    "pcm_u8",
    "pcm_alaw",
    "pcm_mulaw",
    "adpcm_ms",
];
/// Maximum number of sound streams in the copy.
const MAX_STREAMS: usize = 8;

/// A sound stream to copy or convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SoundStream {
    /// Index among the sound streams of the file.
    pub(crate) index: usize,
    /// Whether the stream is copied; otherwise it is converted to AAC.
    pub(crate) copied: bool,
}

/// The sound streams of a video to include in a copy. Logs a warning for those left out.
pub(crate) fn streams(tools: &Tools, video: &Video) -> Result<Vec<SoundStream>, VideoError> {
    let options = ["-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "json"];
    let answer = ffprobe(tools, video.path(), &video.inner.limits, &options)?;
    let (sounds, left_out) = select(header::codecs(&answer));
    if !left_out.is_empty() {
        tracing::warn!(path = %video.path().display(), "sound streams with unsupported codecs are left out: {}", left_out.join(", "));
    }
    Ok(sounds)
}

fn select(codecs: Vec<String>) -> (Vec<SoundStream>, Vec<String>) {
    let (mut sounds, mut left_out) = (Vec::new(), Vec::new());
    for (index, codec) in codecs.into_iter().enumerate() {
        let copied = COPIED.contains(&codec.as_str());
        if sounds.len() < MAX_STREAMS && (copied || CONVERTED.contains(&codec.as_str())) {
            sounds.push(SoundStream { index, copied });
        } else {
            left_out.push(codec);
        }
    }
    (sounds, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selected_streams_keep_their_index() {
        let (sounds, left_out) = select(["aac", "cook", "pcm_s16le"].map(String::from).to_vec());
        let kept = [SoundStream { index: 0, copied: true }, SoundStream { index: 2, copied: false }];
        assert_eq!((sounds.as_slice(), left_out), (&kept[..], vec![String::from("cook")]));
    }
}
