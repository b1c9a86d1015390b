//! The parts of ffmpeg's command line that keep untrusted files in their place, shared by every
//! call.

use std::path::Path;
use std::process::Command;

/// Codecs taken, by ffprobe's names.
pub(crate) const CODECS: [&str; 7] = ["h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "msmpeg4v3"];

/// Decoders allowed for them, by ffmpeg's names of decoders.
const DECODERS: &str = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,av1,mpeg4,msmpeg4";

/// Containers taken. Playlists and the like, which name other files, are not among them.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts";

/// Audio decoders allowed where sound has to be converted.
pub(crate) const AUDIO_DECODERS: &str = "aac,mp3,mp3float,mp2,mp2float,ac3,eac3,opus,libopus,vorbis,flac,alac,\
     pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_f32le,pcm_u8,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav";

/// Quiet except for errors, each of which gets its own line.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.args(["-hide_banner", "-v", "repeat+error"])
}

/// What an input may be and where it may come from. `path` must be absolute: other names can be
/// read as options or protocols.
pub(crate) fn input<'a>(command: &'a mut Command, max_pixels: u64, path: &Path) -> &'a mut Command {
    debug_assert!(path.is_absolute());
    whitelist(command, max_pixels).arg("-i").arg(path)
}

/// The options of [`input`] without the file, for callers that have more to say about it.
pub(crate) fn whitelist(command: &mut Command, max_pixels: u64) -> &mut Command {
    let max_pixels = max_pixels.min(i32::MAX as u64).to_string();
    command.args(["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-max_pixels", &max_pixels])
}

/// Video decoders only. ffprobe must not get this: it would refuse files with sound.
pub(crate) fn video_decoders(command: &mut Command) -> &mut Command {
    command.args(["-codec_whitelist", DECODERS])
}
