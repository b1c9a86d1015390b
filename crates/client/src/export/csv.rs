//! Comma-separated values (RFC 4180, lines ended by a line feed): a header, then one detection to a line. Numbers
//! are the library's, digit for digit; what is unknown is empty.

use std::io::Write;

use super::{Detection, Subject};
use crate::failure::Outcome;

const HEADER: &str = "job_id,frame,time_seconds,track_id,x,y,width,height,confidence";

pub(super) fn write(
    out: &mut (dyn Write + Send),
    subject: &Subject,
    detections: impl Iterator<Item = Outcome<Detection>>,
) -> Outcome<()> {
    let job_id = field(subject.job_id.as_deref().unwrap_or_default());
    writeln!(out, "{HEADER}")?;
    for detection in detections {
        let Detection { frame, track_id, bbox: [x, y, w, h], confidence, .. } = detection?;
        write!(out, "{job_id},{frame},")?;
        if let Some(time) = subject.time_seconds(frame) {
            write!(out, "{time}")?;
        }
        writeln!(out, ",{track_id},{x},{y},{w},{h},{confidence}")?;
    }
    Ok(())
}

/// A text as a field: in quotes where it needs them.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        assert_eq!(field("8f3a-job"), "8f3a-job");
        assert_eq!(field(r#"a "b", c"#), r#""a ""b"", c""#);
    }
}
