//! Command-line options of ffmpeg that restrict untrusted input, shared by every call.

use std::path::Path;
use std::process::Command;

use crate::header::Header;
use crate::limits::Limits;
use crate::tools::Tools;

/// Supported codecs, as ffprobe names them.
pub(crate) const CODECS: [&str; 13] = [
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "av1",
    "mpeg4",
    "msmpeg4v3",
    "mpeg1video",
    "mpeg2video",
    "mjpeg",
    "prores",
    "dnxhd",
    "dvvideo",
];

/// Decoders for the supported codecs, as ffmpeg names them.
const DECODERS: &str = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,av1,mpeg4,msmpeg4,mpeg1video,mpeg2video,mjpeg,\
     prores,dnxhd,dvvideo";

/// Supported containers. Playlists and similar formats, which refer to other files, are excluded.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv";

/// The supported containers, for messages.
pub(crate) const SUPPORTED: &str = "MP4, MOV, MKV, WebM, AVI, FLV, MPEG transport and program streams";

/// Audio decoders allowed when sound must be converted.
pub(crate) const AUDIO_DECODERS: &str = "aac,mp3,mp3float,mp2,mp2float,ac3,eac3,opus,libopus,vorbis,flac,alac,\
     pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_u8,pcm_alaw,pcm_mulaw,\
     pcm_dvd,pcm_bluray,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,wmav1,wmav2";

/// Logs errors only, each on its own line, without collapsing repeated ones.
pub(crate) fn quiet(command: &mut Command) -> &mut Command {
    command.args(["-hide_banner", "-v", "repeat+error"])
}

/// Adds an input file with its restrictions. `path` must be absolute, because ffmpeg can interpret
/// other names as options or protocols.
pub(crate) fn input<'a>(command: &'a mut Command, max_pixels: u64, path: &Path) -> &'a mut Command {
    debug_assert!(path.is_absolute());
    whitelist(command, max_pixels).arg("-i").arg(path)
}

/// The restrictions of [`input`] without the file, for callers that add options in between.
pub(crate) fn whitelist(command: &mut Command, max_pixels: u64) -> &mut Command {
    let max_pixels = max_pixels.min(i32::MAX as u64).to_string();
    command.args(["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-max_pixels", &max_pixels])
}

/// Allows only video decoders. Do not use it with ffprobe, which would then reject files with sound.
fn video_decoders(command: &mut Command) -> &mut Command {
    command.args(["-codec_whitelist", DECODERS])
}

/// The filters that print a line for each frame of the decoder to a file descriptor of the child.
pub(crate) fn announce_frames(descriptor: &str) -> String {
    format!("metadata=mode=add:key=f:value=1,metadata=mode=print:key=f:file='pipe\\:{descriptor}':direct=1")
}

/// ffmpeg, set up to decode as much as it can. Options of the input follow.
pub(crate) fn decoder(tools: &Tools, threads: usize) -> Command {
    let mut command = Tools::command(tools.ffmpeg());
    quiet(command.arg("-nostdin"));
    command.args(["-threads", &threads.to_string(), "-max_error_rate", "1", "-copyts"]);
    command
}

/// Adds the file, and selects its video stream.
pub(crate) fn decoder_input(command: &mut Command, header: &Header, limits: &Limits, path: &Path) {
    video_decoders(command);
    input(command, limits.max_pixels, path);
    command.args(["-map", &format!("0:{}", header.stream), "-an", "-sn", "-dn"]);
}

/// Each frame once with its own timestamp; none is duplicated or dropped to fit a frame rate.
pub(crate) fn frames(command: &mut Command) -> &mut Command {
    command.args(["-fps_mode", "passthrough", "-enc_time_base", "1:1000000"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in all options `--enable-KIND=…` of ffmpeg's configuration in the worker's image.
    fn enabled(kind: &str) -> Vec<String> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Dockerfile.worker");
        let text = std::fs::read_to_string(file).unwrap();
        let option = format!("--enable-{kind}=");
        let lists = text.split_whitespace().filter_map(|word| word.strip_prefix(&option));
        lists.flat_map(|list| list.split(',')).map(str::to_owned).collect()
    }

    #[test]
    fn the_ffmpeg_of_the_image_has_every_decoder_and_container() {
        // Other implementations of a codec, which that ffmpeg does not need.
        const ALTERNATIVES: [&str; 2] = ["libaom-av1", "libopus"];
        let decoders = enabled("decoder");
        for name in DECODERS.split(',').chain(AUDIO_DECODERS.split(',')) {
            let name = if name == "msmpeg4" { "msmpeg4v3" } else { name };
            let is_there = decoders.iter().any(|decoder| decoder == name);
            assert!(is_there || ALTERNATIVES.contains(&name), "{name} is not in {decoders:?}");
        }
        let demuxers = enabled("demuxer");
        for name in FORMATS.split(',') {
            let demuxer = match name {
                "mp4" | "m4a" | "3gp" | "3g2" | "mj2" => "mov",
                "webm" => "matroska",
                "mpeg" => "mpegps",
                name => name,
            };
            assert!(demuxers.iter().any(|known| known == demuxer), "{demuxer} is not in {demuxers:?}");
        }
    }
}
