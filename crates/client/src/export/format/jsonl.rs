//! JSON lines: one object per detection, with the fields of a results file plus the job's id and the time. Numbers
//! are written with all digits of the library; unknown values are null.

use std::io::Write;
use std::path::Path;

use super::spec::{Content, Spec};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::Outcome;

pub(super) const SPEC: Spec = Spec {
    name: "jsonl",
    extension: "jsonl",
    media_type: "application/jsonl",
    content: Content::Text(write),
    has_times: true,
};

fn write(
    out: &mut (dyn Write + Send),
    info: &ExportInfo,
    detections: &mut Detections<'_>,
    _scratch: &Path,
) -> Outcome<()> {
    let job_id = serde_json::to_string(&info.job_id).map_err(std::io::Error::from)?;
    for detection in detections {
        let ExportDetection { frame, track_id, bbox: [x, y, w, h], confidence, .. } = detection?;
        write!(out, "{{\"job_id\":{job_id},\"frame\":{frame},\"time_seconds\":")?;
        match info.time_seconds(frame) {
            Some(time) => write!(out, "{time}")?,
            None => out.write_all(b"null")?,
        }
        writeln!(out, ",\"track_id\":{track_id},\"bbox\":[{x},{y},{w},{h}],\"confidence\":{confidence}}}")?;
    }
    Ok(())
}
