//! The JSON of a detection list, generated while it is sent: the rows are small, their JSON is not.

use bytes::Bytes;
use store::{DetectionRow, DetectionTotals};
use tokio::sync::OwnedSemaphorePermit;

use crate::shapes::detection::{ColumnsBody, DetectionBody, DetectionsBody};

/// Detections per chunk of the body, about 200 kB.
const DETECTIONS_PER_CHUNK: usize = 1024;

/// Detections of complete frames, and where they continue.
pub(super) struct DetectionList {
    video_id: i64,
    job_id: Option<String>,
    totals: DetectionTotals,
    pub(super) rows: Vec<DetectionRow>,
    next_frame: Option<i64>,
}

impl DetectionList {
    /// `rows` are those found, one more than `limit` if there are more.
    pub(super) fn new(
        video_id: i64,
        job_id: Option<String>,
        totals: DetectionTotals,
        mut rows: Vec<DetectionRow>,
        limit: usize,
    ) -> Self {
        let next_frame = cut(&mut rows, limit);
        Self { video_id, job_id, totals, rows, next_frame }
    }

    pub(super) fn into_columns(self) -> ColumnsBody {
        let bbox = |side: usize| self.rows.iter().map(|row| row.detection.bbox[side]).collect();
        ColumnsBody {
            video_id: self.video_id,
            total_detections: self.totals.total_detections,
            frames_with_detections: self.totals.frames_with_detections,
            next_frame: self.next_frame,
            frame_number: self.rows.iter().map(|row| row.detection.frame).collect(),
            tracking_id: self.rows.iter().map(|row| row.detection.track_id).collect(),
            x: bbox(0),
            y: bbox(1),
            width: bbox(2),
            height: bbox(3),
            confidence_score: self.rows.iter().map(|row| row.detection.confidence).collect(),
            job_id: self.job_id,
        }
    }
}

/// Cuts a list to at most `limit` rows of complete frames. Returns the first frame that was cut off. A frame that alone
/// has more rows than the limit is cut in two.
fn cut(rows: &mut Vec<DetectionRow>, limit: usize) -> Option<i64> {
    let frame = rows.get(limit)?.detection.frame;
    let n_complete = rows.partition_point(|row| row.detection.frame < frame);
    match n_complete {
        0 => {
            rows.truncate(limit);
            Some(frame + 1)
        }
        n => {
            rows.truncate(n);
            Some(frame)
        }
    }
}

/// The chunks of a [`DetectionsBody`].
pub(super) struct ListJson {
    /// The JSON before the first detection, until it is sent.
    head: Option<Vec<u8>>,
    rows: std::vec::IntoIter<DetectionRow>,
    job_id: Option<String>,
    /// Released when the response is sent or dropped.
    _permit: Option<OwnedSemaphorePermit>,
    is_first_row: bool,
    is_finished: bool,
}

impl ListJson {
    pub(super) fn new(list: DetectionList, permit: Option<OwnedSemaphorePermit>) -> Self {
        let body = DetectionsBody {
            video_id: list.video_id,
            job_id: list.job_id.clone(),
            total_detections: list.totals.total_detections,
            frames_with_detections: list.totals.frames_with_detections,
            next_frame: list.next_frame,
            detections: Vec::new(),
        };
        let mut head = serde_json::to_vec(&body).unwrap_or_default();
        // The list is the last field: its `]}` is added at the end.
        head.truncate(head.len().saturating_sub(2));
        let rows = list.rows.into_iter();
        let job_id = list.job_id;
        Self { head: Some(head), rows, job_id, _permit: permit, is_first_row: true, is_finished: false }
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
            if !std::mem::take(&mut self.is_first_row) {
                chunk.push(b',');
            }
            // Writing numbers and a text to memory cannot fail.
            let _ = serde_json::to_writer(&mut chunk, &DetectionBody::new(&row, self.job_id.as_deref()));
        }
        if self.rows.len() == 0 {
            chunk.extend_from_slice(b"]}");
            self.is_finished = true;
        }
        Some(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use store::StoredDetection;

    use super::*;

    fn rows(frames: &[i64]) -> Vec<DetectionRow> {
        let detection = |frame| StoredDetection { frame, track_id: 0, bbox: [0.0; 4], confidence: 0.5 };
        let row =
            |frame: &i64| DetectionRow { id: 1, video_id: 1, player_id: None, detection: detection(*frame) };
        frames.iter().map(row).collect()
    }

    #[test]
    fn a_limit_cuts_no_frame_in_two_unless_one_frame_exceeds_it() {
        for (frames, limit, n_left, next) in [
            (&[0, 0, 1, 1][..], 4, 4, None),
            (&[0, 0, 1, 1, 2], 4, 4, Some(2)),
            (&[0, 0, 1, 1, 1], 4, 2, Some(1)),
            (&[0, 0, 0], 2, 2, Some(1)),
            (&[], 3, 0, None),
        ] {
            let mut rows = rows(frames);
            assert_eq!((cut(&mut rows, limit), rows.len()), (next, n_left), "{frames:?}");
        }
    }
}
