//! The ffmpeg command line of one decoding pass.

use std::process::Command;

use crate::args;
use crate::decode::plan::{DecodePlan, PixelLayout};
use crate::decode::side_channel::Selection;
use crate::tools::Tools;

/// The command of one pass. `seek_us` is where to seek to, in microseconds since the file's start;
/// `None` reads from the start.
pub(crate) fn decode_command(plan: &DecodePlan, seek_us: Option<i64>, selection: Selection) -> Command {
    let inner = &plan.video.inner;
    let mut command = Tools::command(inner.tools.ffmpeg());
    args::quiet(command.arg("-nostdin"));
    command.args(["-threads", &plan.threads.to_string(), "-max_error_rate", "1", "-copyts"]);
    if let Some(seek_us) = seek_us {
        command.args(["-noaccurate_seek", "-ss", &format!("{seek_us}us")]);
    }
    args::video_decoders(&mut command);
    args::input(&mut command, inner.limits.max_pixels, &inner.path);
    let stream = format!("0:{}", inner.header.stream);
    command.args(["-map", &stream, "-an", "-sn", "-dn", "-vf", &filters(plan, selection)]);
    // Each frame once with its own timestamp; none is duplicated or dropped to fit a frame rate.
    command.args(["-fps_mode", "passthrough", "-enc_time_base", "1:1000000", "-f", "rawvideo", "pipe:1"]);
    command
}

fn filters(plan: &DecodePlan, selection: Selection) -> String {
    let announce = args::announce_frames("0");
    // Fixed, because the size may change within a stream.
    let (width, height) = (plan.video.width(), plan.video.height());
    let (padded_width, padded_height) = plan.frame_size();
    let layout = match plan.layout {
        PixelLayout::Rgb24 => format!("scale={width}:{height},format=rgb24"),
        PixelLayout::I420 if (padded_width, padded_height) == (width, height) => {
            format!("scale={width}:{height}:out_range=tv,format=yuv420p")
        }
        PixelLayout::I420 => {
            format!(
                "scale={width}:{height}:out_range=tv,format=yuv444p,pad={padded_width}:{padded_height},format=yuv420p"
            )
        }
    };
    format!("{announce},{}{layout}", selection.filters())
}
