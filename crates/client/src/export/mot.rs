//! MOT Challenge 2D text, as TrackEval, py-motmetrics and CVAT read it (<https://motchallenge.net/instructions/>):
//! frames count from 1, and so do pixels, so that the picture's left edge is 1; tracks keep the numbers that they have
//! elsewhere. Boxes have at most 2 decimals, confidence 4; the three world coordinates are unknown.

use std::io::Write;
use std::path::Path;

use super::Detection;
use super::number::Decimal;
use crate::atomic_file::{AtomicFile, cannot};
use crate::failure::Outcome;

/// Writes a file: frame, id, left, top, width, height, confidence, -1, -1, -1.
pub fn write_mot(path: &Path, detections: impl Iterator<Item = Outcome<Detection>>) -> Outcome<()> {
    let mut file = AtomicFile::create(path)?;
    for detection in detections {
        line(&mut file, &detection?).map_err(|e| cannot("write", path, e))?;
    }
    file.keep()
}

pub(super) fn write(
    out: &mut (dyn Write + Send),
    detections: impl Iterator<Item = Outcome<Detection>>,
) -> Outcome<()> {
    for detection in detections {
        line(out, &detection?)?;
    }
    Ok(())
}

fn line(out: &mut (impl Write + ?Sized), d: &Detection) -> std::io::Result<()> {
    let [x, y, w, h] = d.bbox;
    let [x, y, w, h] = [x + 1.0, y + 1.0, w, h].map(|v| Decimal(v, 2));
    let confidence = Decimal(d.confidence, 4);
    writeln!(out, "{},{},{x},{y},{w},{h},{confidence},-1,-1,-1", d.frame.saturating_add(1), d.track_id)
}
