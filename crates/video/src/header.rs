//! The header of a video file: codec, size, rotation, time base, colour. Cheap to read, but not
//! reliable: the packet index has the true frame count.

use std::path::Path;

use serde::Deserialize;

use crate::args::CODECS;
use crate::error::VideoError;
use crate::ffprobe::ffprobe;
use crate::fields;
use crate::limits::Limits;
use crate::tools::Tools;

const ENTRIES: &str = "stream=index,codec_name,width,height,time_base,nb_frames,avg_frame_rate,field_order,\
     sample_aspect_ratio,color_space,color_transfer,color_primaries,extradata:stream_side_data=rotation:\
     stream_disposition=default:format=start_time,format_name";

/// Containers without tables: what they say about a packet is next to it, or in the coded data.
const STREAM_CONTAINERS: [&str; 2] = ["mpegts", "mpeg"];

/// The header of the video stream that is read, and which others there are.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    /// The container: the first of ffmpeg's names for it, such as `mov`, `matroska` or `mpegts`.
    pub(crate) container: String,
    /// Index of the stream in the file.
    pub(crate) stream: u32,
    /// Whether it is the one that is read if none is asked for.
    pub(crate) is_default_stream: bool,
    /// Other video streams, described for the user.
    pub(crate) other_streams: Vec<String>,
    pub(crate) codec: String,
    /// Width and height before rotation.
    pub(crate) stored_size: (u32, u32),
    /// Rotation that a player applies, in degrees.
    pub(crate) rotation: f64,
    /// Width of a stored pixel relative to its height, before rotation.
    pub(crate) pixel_aspect: (u32, u32),
    /// Seconds per tick of a timestamp, as a fraction.
    pub(crate) time_base: (i64, i64),
    /// Average frames per second, as a fraction, if the file has it.
    pub(crate) frame_rate: Option<(i64, i64)>,
    /// Start time of the file (of its earliest stream), in microseconds.
    pub(crate) start_us: i64,
    /// Frame count according to the header. Often wrong.
    pub(crate) declared_frames: Option<u64>,
    /// `progressive`, the order of the fields, or `None` if it is unknown.
    pub(crate) field_order: Option<String>,
    /// Whether a packet may contain one field of a frame.
    pub(crate) may_have_fields: bool,
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
    format_name: Option<String>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    index: u32,
    codec_name: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    time_base: Option<String>,
    nb_frames: Option<String>,
    avg_frame_rate: Option<String>,
    field_order: Option<String>,
    sample_aspect_ratio: Option<String>,
    color_space: Option<String>,
    color_transfer: Option<String>,
    color_primaries: Option<String>,
    extradata: Option<String>,
    #[serde(default)]
    side_data_list: Vec<SideData>,
    #[serde(default)]
    disposition: Disposition,
}

#[derive(Deserialize, Default)]
struct Disposition {
    #[serde(default)]
    default: u8,
}

impl Stream {
    fn codec(&self) -> &str {
        self.codec_name.as_deref().unwrap_or("an unknown codec")
    }

    fn is_supported(&self) -> bool {
        CODECS.contains(&self.codec())
    }

    fn n_pixels(&self) -> u64 {
        u64::from(self.width.unwrap_or(0)) * u64::from(self.height.unwrap_or(0))
    }

    fn describe(&self) -> String {
        let (width, height) = (self.width.unwrap_or(0), self.height.unwrap_or(0));
        format!("stream {} ({}, {width}x{height})", self.index, self.codec())
    }
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
    /// For files that are not videos or lack the stream, use an unsupported codec, or exceed `limits.max_pixels`.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        stream: Option<u32>,
        limits: &Limits,
    ) -> Result<Header, VideoError> {
        let json = ffprobe(
            tools,
            path,
            limits,
            &["-select_streams", "V", "-show_data", "-show_entries", ENTRIES, "-of", "json"],
        )?;
        let header = Header::parse(&json, path, stream)?;
        let (width, height) = header.stored_size;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > limits.max_pixels {
            let max = limits.max_pixels;
            let detail = format!("{width}x{height} is {pixels} pixels per frame; the limit is {max}");
            return Err(VideoError::too_large(path, detail));
        }
        Ok(header)
    }

    fn parse(json: &str, path: &Path, stream: Option<u32>) -> Result<Header, VideoError> {
        let document: Document = serde_json::from_str(json).map_err(|error| {
            VideoError::not_video(path, format!("cannot parse the output of ffprobe: {error}"))
        })?;
        let format = document.format;
        let described: Vec<String> = document.streams.iter().map(Stream::describe).collect();
        let Some(Choice { stream, is_default, others }) = choose(document.streams, stream) else {
            return Err(match stream.filter(|_| !described.is_empty()) {
                Some(wanted) => {
                    let found = described.join(", ");
                    VideoError::NoSuchStream { path: path.to_owned(), wanted, found }
                }
                None => VideoError::not_video(path, "it has no video stream"),
            });
        };
        let codec = stream.codec().to_owned();
        if !stream.is_supported() {
            return Err(VideoError::UnsupportedCodec { path: path.to_owned(), stream: stream.index, codec });
        }
        let (Some(width @ 1..), Some(height @ 1..)) = (stream.width, stream.height) else {
            return Err(VideoError::not_video(path, "its frames have no size; the file may be truncated"));
        };
        let Some(time_base) = stream.time_base.as_deref().and_then(|text| fraction(text, '/')) else {
            return Err(VideoError::not_video(path, "it has no time base"));
        };
        let rotation = stream.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        let start_s: f64 = format.start_time.and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let container = format.format_name.unwrap_or_default();
        let field_order = stream.field_order.filter(|order| order != "unknown");
        let extradata = dumped(stream.extradata.as_deref().unwrap_or_default());
        Ok(Header {
            container: container.split(',').next().unwrap_or_default().to_owned(),
            stream: stream.index,
            is_default_stream: is_default,
            other_streams: others,
            may_have_fields: fields::may_occur(&codec, &extradata, field_order.as_deref()),
            codec,
            stored_size: (width, height),
            rotation,
            pixel_aspect: pixel_aspect(stream.sample_aspect_ratio.as_deref()),
            time_base,
            frame_rate: stream.avg_frame_rate.as_deref().and_then(|text| fraction(text, '/')),
            start_us: (start_s * 1e6).round() as i64,
            declared_frames: stream.nb_frames.and_then(|text| text.parse().ok()),
            field_order,
            colour: [stream.color_space, stream.color_transfer, stream.color_primaries],
        })
    }

    /// Width and height after rotation, which is the size of decoded frames.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (width, height) = self.stored_size;
        if self.is_turned() { (height, width) } else { (width, height) }
    }

    /// Width of a pixel relative to its height, after rotation.
    pub(crate) fn shown_pixel_aspect(&self) -> (u32, u32) {
        let (width, height) = self.pixel_aspect;
        if self.is_turned() { (height, width) } else { (width, height) }
    }

    /// Whether the rotation swaps width and height. ffmpeg turns by a quarter for angles within a
    /// degree of it.
    fn is_turned(&self) -> bool {
        (self.rotation.rem_euclid(180.0) - 90.0).abs() < 1.0
    }

    /// Whether frames are stored as fields, line by line.
    pub(crate) fn is_interlaced(&self) -> bool {
        self.field_order.as_deref().is_some_and(|order| order != "progressive")
    }

    /// Whether the container is a stream, in which recordings are joined by appending one to another.
    pub(crate) fn may_be_joined(&self) -> bool {
        STREAM_CONTAINERS.contains(&self.container.as_str())
    }
}

/// The bytes of ffprobe's hexadecimal dump: lines of an offset, at most eight groups of four digits, and the text.
fn dumped(dump: &str) -> Vec<u8> {
    let digits: Vec<u8> = dump
        .lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, line)| line.bytes().take(8 * 5 - 1))
        .filter_map(|digit| char::from(digit).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The stream to read.
struct Choice {
    stream: Stream,
    /// Whether it is the one that is read if none is asked for.
    is_default: bool,
    /// The other streams, unless this one was asked for.
    others: Vec<String>,
}

/// Chooses the `wanted` stream, or else the one that players show, which is the default, else the largest. A stream that
/// cannot be decoded is the last choice.
fn choose(mut streams: Vec<Stream>, wanted: Option<u32>) -> Option<Choice> {
    let rank = |stream: &Stream| (stream.is_supported(), stream.disposition.default, stream.n_pixels());
    streams.sort_by_key(|stream| std::cmp::Reverse(rank(stream)));
    let is_wanted = |stream: &Stream| wanted.is_none_or(|wanted| stream.index == wanted);
    let at = streams.iter().position(is_wanted)?;
    let stream = streams.remove(at);
    let others = if wanted.is_some() { Vec::new() } else { streams.iter().map(Stream::describe).collect() };
    Some(Choice { stream, is_default: at == 0, others })
}

/// A ratio such as `64:45`; 1:1 if it is unknown.
fn pixel_aspect(text: Option<&str>) -> (u32, u32) {
    let ratio = text.and_then(|text| fraction(text, ':'));
    let ratio = ratio.and_then(|(width, height)| Some((width.try_into().ok()?, height.try_into().ok()?)));
    ratio.unwrap_or((1, 1))
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
pub(crate) mod tests {
    use super::*;

    fn parse(streams: &str) -> Result<Header, VideoError> {
        parse_stream(streams, None)
    }

    fn parse_stream(streams: &str, wanted: Option<u32>) -> Result<Header, VideoError> {
        let format = r#"{"start_time":"1.400000","format_name":"mov,mp4,m4a"}"#;
        Header::parse(&format!(r#"{{"streams":[{streams}],"format":{format}}}"#), Path::new("/x"), wanted)
    }

    /// A header with these fields of its stream.
    pub(crate) fn header(stream: &str) -> Header {
        parse(&format!(r#"{{"width":64,"height":64,"time_base":"1/25",{stream}}}"#)).unwrap()
    }

    #[test]
    fn the_default_stream_is_read_else_the_largest_that_can_be_decoded() {
        let stream = |index: u32, codec: &str, width: u32, default: u8| {
            format!(
                r#"{{"index":{index},"codec_name":"{codec}","width":{width},"height":100,"time_base":"1/25",
                    "disposition":{{"default":{default}}}}}"#
            )
        };
        for (streams, want) in [
            (vec![stream(0, "mjpeg", 900, 0), stream(1, "h264", 640, 1)], 1),
            (vec![stream(0, "h264", 160, 0), stream(1, "h264", 1920, 0)], 1),
            (vec![stream(0, "wmv3", 1920, 1), stream(3, "h264", 640, 0)], 3),
            (vec![stream(0, "h264", 640, 1), stream(1, "h264", 640, 1)], 0),
        ] {
            let header = parse(&streams.join(",")).unwrap();
            assert_eq!(header.stream, want, "{streams:?}");
            assert_eq!(header.other_streams.len(), 1);
            assert_eq!(header.container, "mov");
        }
    }

    #[test]
    fn the_stream_that_is_asked_for_is_read() {
        let stream = |index: u32, codec: &str| {
            format!(r#"{{"index":{index},"codec_name":"{codec}","width":64,"height":48,"time_base":"1/25"}}"#)
        };
        let streams = [stream(0, "h264"), stream(2, "hevc"), stream(3, "wmv3")].join(",");
        let header = parse_stream(&streams, Some(2)).unwrap();
        assert_eq!((header.stream, header.codec.as_str()), (2, "hevc"));
        assert!(header.other_streams.is_empty() && !header.is_default_stream);
        assert!(parse_stream(&streams, Some(0)).unwrap().is_default_stream);
        let error = parse_stream(&streams, Some(1)).unwrap_err();
        let want = "/x has no video stream 1; it has stream 0 (h264, 64x48), stream 2 (hevc, 64x48), stream 3 (wmv3, 64x48)";
        assert_eq!(error.to_string(), want);
        let error = parse_stream(&streams, Some(3)).unwrap_err();
        assert!(matches!(error, VideoError::UnsupportedCodec { codec, .. } if codec == "wmv3"));
    }

    #[test]
    fn angles_near_a_quarter_turn_swap_width_and_height() {
        for (rotation, turned) in
            [(-89.98, true), (90.0, true), (270.0, true), (179.7, false), (0.0, false), (45.0, false)]
        {
            let text = format!(
                r#"{{"codec_name":"h264","width":720,"height":576,"time_base":"1/25",
                "sample_aspect_ratio":"64:45","side_data_list":[{{"rotation":{rotation}}}]}}"#
            );
            let header = parse(&text).unwrap();
            let want = if turned { ((576, 720), (45, 64)) } else { ((720, 576), (64, 45)) };
            assert_eq!((header.size(), header.shown_pixel_aspect()), want, "{rotation}");
        }
    }

    #[test]
    fn the_sequence_header_says_whether_packets_may_be_fields() {
        let header = |extradata: &str| {
            header(&format!(r#""codec_name":"h264","field_order":"progressive","extradata":"{extradata}""#))
        };
        let frames = "\\n00000000: 0164 000d ffe1 0019 6764 000d acd9 4141  .d......gd....AA\\n\
                      00000010: fb01 1000 0003 0010 0000 0303 20f1 4299  ............ .B.\\n\
                      00000020: 6001 0004 68ef 8fcb fdf8 f800            `...h.......\\n";
        let fields = "\\n00000000: 0164 0015 ffe1 001a 6764 0015 acd9 4141  .d......gd....AA\\n\
                      00000010: 0fcb 8088 0000 0300 0800 0003 0190 f8a1  ................\\n\
                      00000020: 4cb0 0100 0468 fe8f cbfd f8f8 00         L....h.......\\n";
        assert!(!header(frames).may_have_fields);
        assert!(header(fields).may_have_fields && header("").may_have_fields);
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
        assert!(message(r#"{"codec_name":"wmv3"}"#).contains("wmv3"));
        assert!(message(r#"{"codec_name":"h264","width":0,"height":0}"#).contains("no size"));
        assert!(
            message(r#"{"codec_name":"h264","width":2,"height":2,"time_base":"1/0"}"#)
                .contains("no time base")
        );
    }
}
