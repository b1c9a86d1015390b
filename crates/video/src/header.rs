//! What a file says about itself: codec, size, rotation, time base, colour. Cheap, and to be
//! believed only as far as the packet index confirms it.

use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use crate::args::{self, CODECS};
use crate::error::VideoError;
use crate::limits::Limits;
use crate::process::{self, Finished, RunError};
use crate::tools::Tools;

const ENTRIES: &str = "stream=codec_name,width,height,time_base,nb_frames,avg_frame_rate,field_order,\
     color_space,color_transfer,color_primaries:stream_side_data=rotation:format=start_time";

/// The header of the first video stream (cover art aside).
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) codec: String,
    /// Size before rotation.
    pub(crate) stored_size: (u32, u32),
    /// Degrees by which a player turns the picture.
    pub(crate) rotation: i32,
    /// Seconds per tick of a timestamp, as a fraction.
    pub(crate) time_base: (i64, i64),
    /// Frames per second, as a fraction, if the file says.
    pub(crate) frame_rate: Option<(i64, i64)>,
    /// Where the file's clock starts (its earliest stream), in microseconds.
    pub(crate) start_us: i64,
    /// How many frames the header announces. Often wrong.
    pub(crate) announced: Option<u64>,
    pub(crate) interlaced: bool,
    /// Matrix, transfer and primaries by ffmpeg's names.
    pub(crate) colour: [Option<String>; 3],
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, Default)]
struct Format {
    start_time: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    codec_name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    time_base: Option<String>,
    nb_frames: Option<String>,
    avg_frame_rate: Option<String>,
    field_order: Option<String>,
    color_space: Option<String>,
    color_transfer: Option<String>,
    color_primaries: Option<String>,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Header {
    /// Asks ffprobe, and refuses what is no video, of another codec or too large.
    pub(crate) fn read(tools: &Tools, path: &Path, limits: &Limits) -> Result<Header, VideoError> {
        let json = ffprobe(
            tools,
            path,
            limits,
            &["-select_streams", "V:0", "-show_entries", ENTRIES, "-of", "json"],
        )?;
        let header = Header::parse(&json, path)?;
        let (width, height) = header.stored_size;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > limits.max_pixels {
            let most = limits.max_pixels;
            let detail = format!("{width}x{height} is {pixels} pixels per picture, the limit is {most}");
            return Err(VideoError::too_large(path, detail));
        }
        Ok(header)
    }

    fn parse(json: &str, path: &Path) -> Result<Header, VideoError> {
        let document: Document = serde_json::from_str(json).map_err(|error| {
            VideoError::not_video(path, format!("ffprobe's answer cannot be read: {error}"))
        })?;
        let format = document.format;
        let Some(stream) = document.streams.into_iter().next() else {
            return Err(VideoError::not_video(path, "it has no video stream"));
        };
        let codec = stream.codec_name.unwrap_or_else(|| String::from("an unknown codec"));
        if !CODECS.contains(&codec.as_str()) {
            return Err(VideoError::UnsupportedCodec { path: path.to_owned(), codec });
        }
        let (Some(width @ 1..), Some(height @ 1..)) = (stream.width, stream.height) else {
            return Err(VideoError::not_video(path, "its pictures have no size; the file may be cut short"));
        };
        let Some(time_base) = stream.time_base.as_deref().and_then(|text| fraction(text, '/')) else {
            return Err(VideoError::not_video(path, "it has no time base"));
        };
        let rotation = stream.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        let start_s: f64 = format.start_time.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Ok(Header {
            codec,
            stored_size: (width, height),
            rotation: rotation as i32,
            time_base,
            frame_rate: stream.avg_frame_rate.as_deref().and_then(|text| fraction(text, '/')),
            start_us: (start_s * 1e6).round() as i64,
            announced: stream.nb_frames.and_then(|text| text.parse().ok()),
            interlaced: stream.field_order.is_some_and(|order| order != "progressive" && order != "unknown"),
            colour: [stream.color_space, stream.color_transfer, stream.color_primaries],
        })
    }

    /// Width and height after rotation, as the decoder hands pictures out.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (width, height) = self.stored_size;
        if self.rotation.rem_euclid(180) == 90 { (height, width) } else { (width, height) }
    }
}

/// The codecs in ffprobe's answer about streams, in order; unknown ones have an empty name.
pub(crate) fn codecs(json: &str) -> Vec<String> {
    let streams = serde_json::from_str::<Document>(json).map(|document| document.streams).unwrap_or_default();
    streams.into_iter().map(|stream| stream.codec_name.unwrap_or_default()).collect()
}

/// `30000/1001` with both parts above zero.
pub(crate) fn fraction(text: &str, separator: char) -> Option<(i64, i64)> {
    let (above, below) = text.split_once(separator)?;
    let (above, below) = (above.parse().ok()?, below.parse().ok()?);
    (above > 0 && below > 0).then_some((above, below))
}

/// Runs ffprobe on a file and returns what it prints, which has to be short.
pub(crate) fn ffprobe(
    tools: &Tools,
    path: &Path,
    limits: &Limits,
    what: &[&str],
) -> Result<String, VideoError> {
    let mut answer = Vec::new();
    ffprobe_streaming(tools, path, limits, what, &mut |chunk| {
        answer.extend_from_slice(chunk);
        if answer.len() > 1 << 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Runs ffprobe on a file and hands out what it prints as it comes.
pub(crate) fn ffprobe_streaming(
    tools: &Tools,
    path: &Path,
    limits: &Limits,
    what: &[&str],
    on_chunk: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Finished, VideoError> {
    let mut command = Tools::command(tools.ffprobe());
    args::quiet(&mut command);
    // ffprobe takes the size limit for every stream it looks into.
    args::whitelist(&mut command, limits.max_pixels).args(what).arg("-i").arg(path);
    let sandbox = tools.sandbox(Some(path), limits, 8);
    let finished =
        process::run(command, &sandbox, limits.stall_timeout, on_chunk).map_err(|error| match error {
            RunError::Io(source) => VideoError::io(path, "cannot run ffprobe on", source),
            RunError::Stalled => VideoError::stalled(path, "was being read", limits.stall_timeout),
        })?;
    match finished.status {
        Some(status) if !status.success() => {
            Err(refusal(path, limits, &finished.log.words("ffprobe failed")))
        }
        _ => Ok(finished),
    }
}

/// ffprobe's last words in ours.
fn refusal(path: &Path, limits: &Limits, words: &str) -> VideoError {
    let words = words.replace(&format!("{}: ", path.display()), "");
    if words.contains("not on whitelist") {
        let detail = "its format is not one of mp4, mov, mkv, webm, avi and ts (playlists, which point at other \
                      files, are refused); submit the video file itself";
        return VideoError::not_video(path, detail);
    }
    if words.contains("max_pixels") || words.contains("Picture size") {
        return VideoError::too_large(path, format!("{words}; the limit is {} pixels", limits.max_pixels));
    }
    VideoError::not_video(path, format!("{words}; it is damaged, cut short or no video"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(stream: &str) -> Result<Header, VideoError> {
        Header::parse(
            &format!(r#"{{"streams":[{stream}],"format":{{"start_time":"1.400000"}}}}"#),
            Path::new("/x"),
        )
    }

    #[test]
    fn a_rotated_header_swaps_the_sides() {
        let header = parse(
            r#"{"codec_name":"h264","width":1920,"height":1080,"time_base":"1/15360","avg_frame_rate":"30000/1001",
                "nb_frames":"600","side_data_list":[{"side_data_type":"x"},{"rotation":-90}]}"#,
        )
        .unwrap();
        assert_eq!(header.size(), (1080, 1920));
        assert_eq!(header.frame_rate, Some((30000, 1001)));
        assert_eq!(header.start_us, 1_400_000);
        assert_eq!(header.announced, Some(600));
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |stream: &str| parse(stream).unwrap_err().to_string();
        assert!(refused("").contains("no video stream"));
        assert!(refused(r#"{"codec_name":"prores"}"#).contains("prores"));
        assert!(refused(r#"{"codec_name":"h264","width":0,"height":0}"#).contains("no size"));
        assert!(
            refused(r#"{"codec_name":"h264","width":2,"height":2,"time_base":"1/0"}"#)
                .contains("no time base")
        );
    }
}
