//! The ffmpeg command line of one decoding pass.

use std::process::Command;

use crate::args;
use crate::decode::plan::{DecodePlan, PixelLayout};
use crate::decode::side_channel::Selection;

/// The command of one pass. `seek_us` is where to seek to, in microseconds since the file's start;
/// `None` reads from the start.
pub(crate) fn decode_command(plan: &DecodePlan, seek_us: Option<i64>, selection: Selection) -> Command {
    let inner = &plan.video.inner;
    let mut command = args::decoder(&inner.tools, plan.threads);
    if let Some(seek_us) = seek_us {
        command.args(["-noaccurate_seek", "-ss", &format!("{seek_us}us")]);
    }
    args::decoder_input(&mut command, &inner.header, &inner.limits, &inner.path);
    args::frames(command.args(["-vf", &filters(plan, selection)]));
    command.args(["-f", "rawvideo", "pipe:1"]);
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
