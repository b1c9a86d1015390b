//! The JSON of a detection list, generated while it is sent: the rows are small, their JSON is not.

use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use store::{DetectionRow, DetectionTotals};
use tokio::sync::OwnedSemaphorePermit;

use crate::shapes::detection::{DetectionBody, DetectionsBody};

/// Detections per chunk of the body, about 200 kB.
const DETECTIONS_PER_CHUNK: usize = 1024;

/// The chunks of a [`DetectionsBody`].
pub(super) struct ListJson {
    /// The JSON before the first detection, until it is sent.
    head: Option<String>,
    rows: std::vec::IntoIter<DetectionRow>,
    /// Job ids by import id.
    imports: HashMap<i64, String>,
    /// Released when the response is sent or dropped.
    _permit: Option<OwnedSemaphorePermit>,
    is_first_row: bool,
    is_finished: bool,
}

impl ListJson {
    pub(super) fn new(
        video_id: i64,
        totals: DetectionTotals,
        rows: Vec<DetectionRow>,
        imports: HashMap<i64, String>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let body = DetectionsBody {
            video_id,
            total_detections: totals.total_detections,
            frames_with_detections: totals.frames_with_detections,
            detections: Vec::new(),
        };
        let mut head = serde_json::to_string(&body).unwrap_or_default();
        // The list is the last field: its `]}` is added at the end.
        head.truncate(head.len().saturating_sub(2));
        let rows = rows.into_iter();
        Self { head: Some(head), rows, imports, _permit: permit, is_first_row: true, is_finished: false }
    }
}

impl Iterator for ListJson {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.is_finished {
            return None;
        }
        let mut chunk = self.head.take().unwrap_or_default();
        for row in self.rows.by_ref().take(DETECTIONS_PER_CHUNK) {
            let comma = if std::mem::take(&mut self.is_first_row) { "" } else { "," };
            let job_id = row.import_id.and_then(|id| self.imports.get(&id)).map(String::as_str);
            let json = serde_json::to_string(&DetectionBody::new(&row, job_id)).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(chunk, "{comma}{json}");
        }
        if self.rows.len() == 0 {
            chunk.push_str("]}");
            self.is_finished = true;
        }
        Some(chunk.into())
    }
}
