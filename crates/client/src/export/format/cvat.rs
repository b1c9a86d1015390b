//! CVAT for video 1.1 (<https://docs.cvat.ai/docs/manual/advanced/xml_format/>): tracks of boxes.
//!
//! CVAT shows a box until the track's next keyframe. So every box is a keyframe, and where a track has no box on the
//! next tracked frame, its last box is repeated there as `outside`. Coordinates have two decimals, like CVAT's own.

use std::io::Write;
use std::path::Path;

use super::by_track::{ByTrack, Shape};
use super::spec::{Content, Spec};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::{Failure, Outcome};
use crate::terminal::notify;

pub(super) const SPEC: Spec = Spec {
    name: "cvat",
    extension: "cvat.xml",
    media_type: "application/xml",
    content: Content::Text(write),
    has_times: false,
};

fn write(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    detections: &mut Detections<'_>,
    scratch: &Path,
) -> Outcome<()> {
    let mut tracks = ByTrack::new(scratch);
    for detection in detections {
        let ExportDetection { frame, track_id, bbox, .. } = detection?;
        tracks.push(track_id, Shape { frame, bbox })?;
    }
    write_head(out, info)?;
    let mut n_duplicates = 0;
    tracks.for_each(|id, shapes| {
        n_duplicates += write_track(out, info, id, shapes)?;
        Ok::<(), Failure>(())
    })?;
    writeln!(out, "</annotations>")?;
    if n_duplicates > 0 {
        notify(format!("left out {n_duplicates} boxes: CVAT allows one box per track and frame"));
    }
    Ok(())
}

fn write_head(out: &mut (dyn Write + Send), info: &ExportInfo) -> std::io::Result<()> {
    let name = escaped(&info.video_name);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>")?;
    writeln!(out, "  <meta>\n    <task>\n      <name>{name}</name>")?;
    if let Some(n_frames) = info.n_frames {
        writeln!(out, "      <size>{n_frames}</size>")?;
    }
    writeln!(
        out,
        "      <mode>interpolation</mode>\n      <overlap>0</overlap>\n      <start_frame>0</start_frame>"
    )?;
    if let Some(n_frames) = info.n_frames {
        writeln!(out, "      <stop_frame>{}</stop_frame>", n_frames.saturating_sub(1))?;
    }
    writeln!(out, "      <labels>")?;
    for prompt in &info.prompts {
        let name = escaped(prompt);
        writeln!(out, "        <label>\n          <name>{name}</name>\n          <type>any</type>")?;
        writeln!(out, "          <attributes></attributes>\n        </label>")?;
    }
    writeln!(out, "      </labels>")?;
    if let Some((width, height)) = info.size {
        writeln!(out, "      <original_size>\n        <width>{width}</width>")?;
        writeln!(out, "        <height>{height}</height>\n      </original_size>")?;
    }
    writeln!(out, "      <source>{name}</source>\n    </task>\n  </meta>")
}

/// Writes a track. Returns the number of boxes that it left out because their frame had one already.
fn write_track(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    id: i64,
    shapes: &mut dyn Iterator<Item = std::io::Result<Shape>>,
) -> std::io::Result<u64> {
    let label = info.prompts.first().map(|p| escaped(p)).unwrap_or_default();
    let interval = i64::try_from(info.sample_interval.max(1)).unwrap_or(1);
    let mut previous: Option<Shape> = None;
    let mut n_duplicates = 0;
    writeln!(out, "  <track id=\"{id}\" label=\"{label}\" source=\"auto\">")?;
    for shape in shapes {
        let shape = shape?;
        if previous.is_some_and(|previous| previous.frame == shape.frame) {
            n_duplicates += 1;
            continue;
        }
        match previous.replace(shape) {
            Some(previous) if previous.frame.saturating_add(interval) < shape.frame => {
                write_outside(out, previous, interval)?;
            }
            _ => {}
        }
        write_box(out, shape, false)?;
    }
    let is_past_end = |frame: i64| info.n_frames.is_some_and(|n_frames| frame >= n_frames);
    match previous {
        Some(last) if !is_past_end(last.frame.saturating_add(interval)) => {
            write_outside(out, last, interval)?;
        }
        _ => {}
    }
    writeln!(out, "  </track>")?;
    Ok(n_duplicates)
}

/// Ends the display of a track on the next tracked frame.
fn write_outside(out: &mut (dyn Write + Send), last: Shape, interval: i64) -> std::io::Result<()> {
    write_box(out, Shape { frame: last.frame.saturating_add(interval), ..last }, true)
}

fn write_box(out: &mut (dyn Write + Send), shape: Shape, outside: bool) -> std::io::Result<()> {
    let Shape { frame, bbox: [x, y, w, h] } = shape;
    writeln!(
        out,
        "    <box frame=\"{frame}\" keyframe=\"1\" outside=\"{}\" occluded=\"0\" xtl=\"{x:.2}\" ytl=\"{y:.2}\" \
         xbr=\"{:.2}\" ybr=\"{:.2}\" z_order=\"0\"></box>",
        u8::from(outside),
        x + w,
        y + h
    )
}

/// Escapes text for an element or an attribute. XML 1.0 cannot represent control characters: they are replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_escaped() {
        assert_eq!(escaped("<a & \"b\"> 'c'\u{1}ü"), "&lt;a &amp; &quot;b&quot;&gt; &apos;c&apos;\u{fffd}ü");
    }
}
