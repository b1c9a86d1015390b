//! JSON lines: the record of a results file with the job's id and the time, one detection to a line. Numbers are
//! the library's, digit for digit; what is unknown is null.

use std::io::Write;

use super::{Detection, Subject};
use crate::failure::Outcome;

pub(super) fn write(
    out: &mut (dyn Write + Send),
    subject: &Subject,
    detections: impl Iterator<Item = Outcome<Detection>>,
) -> Outcome<()> {
    let job_id = serde_json::to_string(&subject.job_id).map_err(std::io::Error::from)?;
    for detection in detections {
        let Detection { frame, track_id, bbox: [x, y, w, h], confidence, .. } = detection?;
        write!(out, "{{\"job_id\":{job_id},\"frame\":{frame},\"time_seconds\":")?;
        match subject.time_seconds(frame) {
            Some(time) => write!(out, "{time}")?,
            None => out.write_all(b"null")?,
        }
        writeln!(out, ",\"track_id\":{track_id},\"bbox\":[{x},{y},{w},{h}],\"confidence\":{confidence}}}")?;
    }
    Ok(())
}
