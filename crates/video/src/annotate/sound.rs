//! The sound of an annotated copy. Each stream is copied if MP4 can hold it, else converted to AAC, else left
//! out with a warning. A trial on its first seconds decides, because codec names do not: MP4 holds MP3, but
//! not at every sampling rate.

use std::ops::ControlFlow;
use std::path::Path;

use crate::args;
use crate::error::VideoError;
use crate::ffprobe::ffprobe;
use crate::header;
use crate::process;
use crate::tools::Tools;
use crate::video::Video;

/// Codecs that MP4 can hold, at least at some sampling rates.
const COPIED: [&str; 7] = ["aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"];
/// Maximum number of sound streams in the copy.
const MAX_STREAMS: usize = 8;
/// How much of each stream is tried, in seconds.
const TRIAL_S: &str = "2";

/// A sound stream to copy or convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SoundStream {
    /// Index among the sound streams of the file.
    pub(crate) index: usize,
    /// Whether the stream is copied; otherwise it is converted to AAC.
    pub(crate) copied: bool,
}

/// The sound streams of a video to include in a copy. Tries them by writing to `scratch`, which must exist.
/// Adds a warning for each stream that is converted although MP4 holds its codec, or left out.
pub(crate) fn streams(
    tools: &Tools,
    video: &Video,
    scratch: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<SoundStream>, VideoError> {
    let options = ["-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "json"];
    let answer = ffprobe(tools, video.path(), &video.inner.limits, &options)?;
    let mut sounds = Vec::new();
    for (index, codec) in header::codecs(&answer).into_iter().enumerate() {
        let name = format!("sound stream {index} ({codec})");
        if sounds.len() == MAX_STREAMS {
            warnings.push(format!("{name} is left out: a copy has at most {MAX_STREAMS} sound streams"));
            continue;
        }
        let can_copy = COPIED.contains(&codec.as_str());
        let copied = SoundStream { index, copied: true };
        let converted = SoundStream { index, copied: false };
        if can_copy && try_stream(tools, video, copied, scratch).is_ok() {
            sounds.push(copied);
            continue;
        }
        match try_stream(tools, video, converted, scratch) {
            Ok(()) => {
                if can_copy {
                    warnings.push(format!("{name} is converted to AAC: MP4 cannot hold it as it is"));
                }
                sounds.push(converted);
            }
            Err(why) => warnings.push(format!("{name} is left out: it cannot be converted to AAC ({why})")),
        }
    }
    Ok(sounds)
}

/// Writes the beginning of a stream to an MP4. Returns ffmpeg's message if that fails.
fn try_stream(tools: &Tools, video: &Video, sound: SoundStream, scratch: &Path) -> Result<(), String> {
    let inner = &video.inner;
    let mut command = Tools::command(tools.ffmpeg());
    args::quiet(command.arg("-nostdin")).args([
        "-y",
        "-t",
        TRIAL_S,
        "-codec_whitelist",
        args::AUDIO_DECODERS,
    ]);
    args::input(&mut command, inner.limits.max_pixels, &inner.path);
    command.args(["-vn", "-sn", "-dn", "-map", &format!("0:a:{}", sound.index), "-c:a", sound.encoder()]);
    command.args(["-f", "mp4"]).arg(scratch);
    let mut sandbox = tools.sandbox(Some(&inner.path), &inner.limits, 1);
    sandbox.write = Some(scratch.to_owned());
    let ignore = &mut |_: &[u8]| ControlFlow::Continue(());
    match process::run(command, &sandbox, inner.limits.stall_timeout, ignore) {
        Ok(finished) if finished.status.is_some_and(|status| status.success()) => Ok(()),
        Ok(finished) => {
            let why = finished.log.summary("ffmpeg exited without a message");
            // ffmpeg's message is a list of what is allowed.
            let is_refused = why.contains("not on whitelist");
            Err(if is_refused { String::from("Courtside does not decode this codec") } else { why })
        }
        Err(process::RunError::Io(error)) => Err(error.to_string()),
        Err(process::RunError::Stalled) => Err(String::from("ffmpeg does not respond")),
    }
}

impl SoundStream {
    /// The encoder, as ffmpeg names it.
    pub(crate) fn encoder(self) -> &'static str {
        if self.copied { "copy" } else { "aac" }
    }
}
