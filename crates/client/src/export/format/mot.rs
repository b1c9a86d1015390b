//! MOT Challenge 2D text, as TrackEval, py-motmetrics and CVAT read it (<https://motchallenge.net/instructions/>).
//!
//! A line is frame, id, left, top, width, height, confidence, -1, -1, -1. Frames and pixels are numbered from 1, so
//! the left edge of the image is 1; track ids are unchanged. Boxes have at most 2 decimals, the confidence at most 4;
//! the three world coordinates are unknown.

use std::io::Write;
use std::path::Path;

use super::decimal::Decimal;
use super::spec::{Content, Spec};
use crate::atomic_file::{AtomicFile, cannot};
use crate::export::detection::{Detections, ExportDetection};
use crate::export::info::ExportInfo;
use crate::failure::Outcome;

pub(super) const SPEC: Spec = Spec {
    name: "mot",
    extension: "mot.txt",
    media_type: "text/plain; charset=utf-8",
    content: Content::Text(write),
    has_times: false,
};

/// Writes a MOT Challenge file atomically.
pub fn write_mot(path: &Path, detections: impl Iterator<Item = Outcome<ExportDetection>>) -> Outcome<()> {
    let mut file = AtomicFile::create(path)?;
    for detection in detections {
        line(&mut file, &detection?).map_err(|e| cannot("write", path, e))?;
    }
    file.commit()
}

fn write(
    out: &mut (dyn Write + Send),
    _info: &ExportInfo,
    detections: &mut Detections<'_>,
    _scratch: &Path,
) -> Outcome<()> {
    for detection in detections {
        line(out, &detection?)?;
    }
    Ok(())
}

fn line(out: &mut (impl Write + ?Sized), d: &ExportDetection) -> std::io::Result<()> {
    let [x, y, w, h] = d.bbox;
    let [x, y, w, h] = [x + 1.0, y + 1.0, w, h].map(|v| Decimal(v, 2));
    let confidence = Decimal(d.confidence, 4);
    writeln!(out, "{},{},{x},{y},{w},{h},{confidence},-1,-1,-1", d.frame.saturating_add(1), d.track_id)
}
