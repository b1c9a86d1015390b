//! CVAT for video 1.1 (<https://docs.cvat.ai/docs/manual/advanced/xml_format/>): tracks of boxes.
//!
//! CVAT shows a box until the track says otherwise, so every box is a keyframe, and where a track is not seen on
//! the next tracked frame, its last box is repeated there as `outside`. Bounds have two decimals, as CVAT's own.

use std::io::Write;
use std::path::Path;

use super::by_track::{ByTrack, Shape};
use super::{Detection, Subject};
use crate::failure::{Failure, Outcome};
use crate::terminal::notify;

pub(super) fn write(
    out: &mut (dyn Write + Send),
    subject: &Subject,
    detections: impl Iterator<Item = Outcome<Detection>>,
    scratch: &Path,
) -> Outcome<()> {
    let mut tracks = ByTrack::new(scratch);
    for detection in detections {
        let Detection { frame, track_id, bbox, .. } = detection?;
        tracks.push(track_id, Shape { frame, bbox })?;
    }
    head(out, subject)?;
    let mut n_doubles = 0;
    tracks.for_each(|id, shapes| {
        n_doubles += track(out, subject, id, shapes)?;
        Ok::<(), Failure>(())
    })?;
    writeln!(out, "</annotations>")?;
    if n_doubles > 0 {
        notify(format!(
            "{n_doubles} boxes are left out: their track has another one on the same frame, and CVAT takes one"
        ));
    }
    Ok(())
}

fn head(out: &mut (dyn Write + Send), subject: &Subject) -> std::io::Result<()> {
    let name = escaped(&subject.video_name);
    writeln!(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>")?;
    writeln!(out, "  <meta>\n    <task>\n      <name>{name}</name>")?;
    if let Some(n_frames) = subject.n_frames {
        writeln!(out, "      <size>{n_frames}</size>")?;
    }
    writeln!(
        out,
        "      <mode>interpolation</mode>\n      <overlap>0</overlap>\n      <start_frame>0</start_frame>"
    )?;
    if let Some(n_frames) = subject.n_frames {
        writeln!(out, "      <stop_frame>{}</stop_frame>", n_frames.saturating_sub(1))?;
    }
    writeln!(out, "      <labels>")?;
    for prompt in &subject.prompts {
        let name = escaped(prompt);
        writeln!(out, "        <label>\n          <name>{name}</name>\n          <type>any</type>")?;
        writeln!(out, "          <attributes></attributes>\n        </label>")?;
    }
    writeln!(out, "      </labels>")?;
    if let Some((width, height)) = subject.size {
        writeln!(out, "      <original_size>\n        <width>{width}</width>")?;
        writeln!(out, "        <height>{height}</height>\n      </original_size>")?;
    }
    writeln!(out, "      <source>{name}</source>\n    </task>\n  </meta>")
}

/// Writes a track, and returns how many boxes it has beside another one on their frame.
fn track(
    out: &mut (dyn Write + Send),
    subject: &Subject,
    id: i64,
    shapes: &mut dyn Iterator<Item = std::io::Result<Shape>>,
) -> std::io::Result<u64> {
    let label = subject.prompts.first().map(|p| escaped(p)).unwrap_or_default();
    let every = i64::try_from(subject.every.max(1)).unwrap_or(1);
    let mut before: Option<Shape> = None;
    let mut n_doubles = 0;
    writeln!(out, "  <track id=\"{id}\" label=\"{label}\" source=\"auto\">")?;
    for shape in shapes {
        let shape = shape?;
        if before.is_some_and(|before| before.frame == shape.frame) {
            n_doubles += 1;
            continue;
        }
        match before.replace(shape) {
            Some(before) if before.frame.saturating_add(every) < shape.frame => vanish(out, before, every)?,
            _ => {}
        }
        draw(out, shape, false)?;
    }
    let beyond = |frame: i64| subject.n_frames.is_some_and(|n_frames| frame >= n_frames);
    match before {
        Some(last) if !beyond(last.frame.saturating_add(every)) => vanish(out, last, every)?,
        _ => {}
    }
    writeln!(out, "  </track>")?;
    Ok(n_doubles)
}

/// From the next tracked frame on it is not there.
fn vanish(out: &mut (dyn Write + Send), last: Shape, every: i64) -> std::io::Result<()> {
    draw(out, Shape { frame: last.frame.saturating_add(every), ..last }, true)
}

fn draw(out: &mut (dyn Write + Send), shape: Shape, outside: bool) -> std::io::Result<()> {
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

/// A text for an element or an attribute. XML has no place for most control characters at all.
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
    fn texts_cannot_leave_their_place() {
        assert_eq!(escaped("<a & \"b\"> 'c'\u{1}ü"), "&lt;a &amp; &quot;b&quot;&gt; &apos;c&apos;\u{fffd}ü");
    }
}
