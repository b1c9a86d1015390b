//! The header of a video file: codec, size, rotation, time base, colour. Cheap to read, but not
//! reliable: the packet index has the true frame count.

use std::path::Path;

use serde::Deserialize;

use crate::args::CODECS;
use crate::error::VideoError;
use crate::ffprobe::ffprobe;
use crate::limits::Limits;
use crate::tools::Tools;

const ENTRIES: &str = "stream=codec_name,width,height,time_base,nb_frames,avg_frame_rate,field_order,\
     color_space,color_transfer,color_primaries:stream_side_data=rotation:format=start_time";

/// The header of the first video stream, ignoring cover art.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) codec: String,
    /// Width and height before rotation.
    pub(crate) stored_size: (u32, u32),
    /// Rotation that a player applies, in degrees.
    pub(crate) rotation: i32,
    /// Seconds per tick of a timestamp, as a fraction.
    pub(crate) time_base: (i64, i64),
    /// Average frames per second, as a fraction, if the file has it.
    pub(crate) frame_rate: Option<(i64, i64)>,
    /// Start time of the file (of its earliest stream), in microseconds.
    pub(crate) start_us: i64,
    /// Frame count according to the header. Often wrong.
    pub(crate) declared_frames: Option<u64>,
    pub(crate) interlaced: bool,
    /// Matrix, transfer and primaries, as ffmpeg names them.
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
    /// Reads the header with ffprobe.
    ///
    /// # Errors
    ///
    /// For files that are not videos, use an unsupported codec, or exceed `limits.max_pixels`.
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
            let max = limits.max_pixels;
            let detail = format!("{width}x{height} is {pixels} pixels per frame; the limit is {max}");
            return Err(VideoError::too_large(path, detail));
        }
        Ok(header)
    }

    fn parse(json: &str, path: &Path) -> Result<Header, VideoError> {
        let document: Document = serde_json::from_str(json).map_err(|error| {
            VideoError::not_video(path, format!("cannot parse the output of ffprobe: {error}"))
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
            return Err(VideoError::not_video(path, "its frames have no size; the file may be truncated"));
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
            declared_frames: stream.nb_frames.and_then(|text| text.parse().ok()),
            interlaced: stream.field_order.is_some_and(|order| order != "progressive" && order != "unknown"),
            colour: [stream.color_space, stream.color_transfer, stream.color_primaries],
        })
    }

    /// Width and height after rotation, which is the size of decoded frames.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (width, height) = self.stored_size;
        if self.rotation.rem_euclid(180) == 90 { (height, width) } else { (width, height) }
    }
}

/// The codec of each stream in ffprobe's JSON output, in order. Unknown codecs have an empty name.
pub(crate) fn codecs(json: &str) -> Vec<String> {
    let streams = serde_json::from_str::<Document>(json).map(|document| document.streams).unwrap_or_default();
    streams.into_iter().map(|stream| stream.codec_name.unwrap_or_default()).collect()
}

/// Parses a fraction such as `30000/1001`; both parts must be positive.
fn fraction(text: &str, separator: char) -> Option<(i64, i64)> {
    let (numerator, denominator) = text.split_once(separator)?;
    let (numerator, denominator) = (numerator.parse().ok()?, denominator.parse().ok()?);
    (numerator > 0 && denominator > 0).then_some((numerator, denominator))
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
    fn rotation_swaps_width_and_height() {
        let header = parse(
            r#"{"codec_name":"h264","width":1920,"height":1080,"time_base":"1/15360","avg_frame_rate":"30000/1001",
                "nb_frames":"600","side_data_list":[{"side_data_type":"x"},{"rotation":-90}]}"#,
        )
        .unwrap();
        assert_eq!(header.size(), (1080, 1920));
        assert_eq!(header.frame_rate, Some((30000, 1001)));
        assert_eq!(header.start_us, 1_400_000);
        assert_eq!(header.declared_frames, Some(600));
    }

    #[test]
    fn errors_name_the_missing_field() {
        let message = |stream: &str| parse(stream).unwrap_err().to_string();
        assert!(message("").contains("no video stream"));
        assert!(message(r#"{"codec_name":"prores"}"#).contains("prores"));
        assert!(message(r#"{"codec_name":"h264","width":0,"height":0}"#).contains("no size"));
        assert!(
            message(r#"{"codec_name":"h264","width":2,"height":2,"time_base":"1/0"}"#)
                .contains("no time base")
        );
    }
}
