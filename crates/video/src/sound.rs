//! What to do with the sound of a video: copy what mp4 can hold and browsers play, convert what
//! can be decoded, leave out the rest.

use crate::error::VideoError;
use crate::header;
use crate::tools::Tools;
use crate::video::Video;

/// Codecs that go into an mp4 as they are.
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
/// Most streams taken along.
const MAX_STREAMS: usize = 8;

/// One sound stream to take along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Its number among the sound streams of the file.
    pub(crate) stream: usize,
    /// Copied, or else converted.
    pub(crate) copied: bool,
}

/// Looks at the sound streams of a video.
pub(crate) fn streams(tools: &Tools, video: &Video) -> Result<Vec<Sound>, VideoError> {
    let what = ["-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "json"];
    let answer = header::ffprobe(tools, video.path(), &video.inner.limits, &what)?;
    let (sounds, left_out) = sort(header::codecs(&answer));
    if !left_out.is_empty() {
        tracing::warn!(path = %video.path().display(), "sound is left out: {}", left_out.join(", "));
    }
    Ok(sounds)
}

fn sort(codecs: Vec<String>) -> (Vec<Sound>, Vec<String>) {
    let (mut sounds, mut left_out) = (Vec::new(), Vec::new());
    for (stream, codec) in codecs.into_iter().enumerate() {
        let copied = COPIED.contains(&codec.as_str());
        if sounds.len() < MAX_STREAMS && (copied || CONVERTED.contains(&codec.as_str())) {
            sounds.push(Sound { stream, copied });
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
    fn streams_keep_their_numbers() {
        let (sounds, left_out) = sort(["aac", "cook", "pcm_s16le"].map(String::from).to_vec());
        let kept = [Sound { stream: 0, copied: true }, Sound { stream: 2, copied: false }];
        assert_eq!((sounds.as_slice(), left_out), (&kept[..], vec![String::from("cook")]));
    }
}
