//! Comma-separated values (RFC 4180 with line feeds): a header, then one line per detection. Numbers are written
//! with all digits of the library; unknown values are empty.

use std::io::Write;
use std::path::Path;

use super::spec::{Content, Spec};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::Outcome;

pub(super) const SPEC: Spec = Spec {
    name: "csv",
    extension: "csv",
    media_type: "text/csv; charset=utf-8",
    content: Content::Text(write),
    has_times: true,
};

const HEADER: &str = "job_id,frame,time_seconds,track_id,x,y,width,height,confidence";

fn write(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    detections: &mut Detections<'_>,
    _scratch: &Path,
) -> Outcome<()> {
    let job_id = quoted(info.job_id.as_deref().unwrap_or_default());
    writeln!(out, "{HEADER}")?;
    for detection in detections {
        let ExportDetection { frame, track_id, bbox: [x, y, w, h], confidence, .. } = detection?;
        write!(out, "{job_id},{frame},")?;
        if let Some(time) = info.time_seconds(frame) {
            write!(out, "{time}")?;
        }
        writeln!(out, ",{track_id},{x},{y},{w},{h},{confidence}")?;
    }
    Ok(())
}

/// Quotes a field if it contains a separator, a quote or a line break.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_only_if_necessary() {
        assert_eq!(quoted("8f3a-job"), "8f3a-job");
        assert_eq!(quoted(r#"a "b", c"#), r#""a ""b"", c""#);
    }
}
