//! Reading detections: listings, totals, and streams for exports.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::Result;
use crate::error::At as _;
use crate::library::Library;

/// One box of one track on one frame, as an import brings it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Frame in the source video, from 0.
    pub frame: i64,
    /// The track it belongs to.
    pub track_id: i64,
    /// Left, top, width and height in source pixels.
    pub bbox: [f64; 4],
    /// How sure the model is, 0 to 1.
    pub confidence: f64,
}

/// A detection in the library.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRow {
    /// Number of the row.
    pub id: i64,
    /// Its video.
    pub video_id: i64,
    /// The player, where the app has named one.
    pub player_id: Option<i64>,
    /// Number of the import that brought it ([`ImportRow::id`](crate::ImportRow)); null for the app's own.
    pub import_id: Option<i64>,
    /// The detection itself.
    pub detection: Detection,
}

/// Whose detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select<'a> {
    /// All of a video: every job's, and the app's own.
    Video(i64),
    /// Those of one job.
    Job(&'a str),
}

/// Which of a video's detections. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionQuery {
    /// From this frame on.
    pub frame_start: Option<i64>,
    /// Up to and with this frame.
    pub frame_end: Option<i64>,
    /// At least so sure.
    pub min_confidence: Option<f64>,
    /// Those that this job brought.
    pub job_id: Option<String>,
    /// At most so many rows; totals do not heed it.
    pub limit: Option<u32>,
}

/// How much a query matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DetectionTotals {
    /// Detections.
    pub total_detections: i64,
    /// Frames with at least one.
    pub frames_with_detections: i64,
}

const COLUMNS: &str = "id, video_id, player_id, import_id, frame_number, tracking_id, bbox_x, bbox_y, bbox_width, \
     bbox_height, confidence_score";

impl Library {
    /// Detections of a video, by frame, then track. An unknown video has none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detections(&self, video_id: i64, query: &DetectionQuery) -> Result<Vec<DetectionRow>> {
        let (condition, mut params) = query.condition(video_id);
        params.push(query.limit.map_or(-1, i64::from).into());
        let sql = format!(
            "SELECT {COLUMNS} FROM player_detections WHERE {condition} ORDER BY frame_number, tracking_id, id LIMIT ?"
        );
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows = statement.query_map(params_from_iter(params), read).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// How much a query matches, its limit aside.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_totals(&self, video_id: i64, query: &DetectionQuery) -> Result<DetectionTotals> {
        let (condition, params) = query.condition(video_id);
        // Frames come in the order of the index, so counting them needs no memory.
        let sql = format!(
            "SELECT coalesce(sum(n), 0), count(*) FROM
                (SELECT count(*) AS n FROM player_detections WHERE {condition} GROUP BY frame_number)"
        );
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let totals = statement.query_row(params_from_iter(params), |row| {
            Ok(DetectionTotals { total_detections: row.get(0)?, frames_with_detections: row.get(1)? })
        });
        totals.at(conn)
    }

    /// Hands out detections one by one, by frame, then track, until there are no more or `each` breaks.
    /// Memory does not grow with their number, and they are those of one moment: what is imported
    /// meanwhile is not among them. An unknown video or job has none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn for_each_detection(
        &self,
        of: Select<'_>,
        mut each: impl FnMut(&DetectionRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let conn = &self.conn;
        let (condition, params) = of.condition();
        // The index gives the frames in order. The few rows of one frame are sorted here: SQLite would
        // need twice the time.
        let sql = format!("SELECT {COLUMNS} FROM player_detections WHERE {condition} ORDER BY frame_number");
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let mut rows = statement.query(params_from_iter(params)).at(conn)?;
        let mut frame: Vec<DetectionRow> = Vec::new();
        while let Some(row) = rows.next().at(conn)? {
            let row = read(row).at(conn)?;
            let is_next = frame.first().is_some_and(|first| first.detection.frame != row.detection.frame);
            if is_next && hand_out(&mut frame, &mut each).is_break() {
                return Ok(());
            }
            frame.push(row);
        }
        // Nothing comes after the last frame that a break could spare.
        let _ = hand_out(&mut frame, &mut each);
        Ok(())
    }
}

/// Hands out one frame's rows by track, and forgets them.
fn hand_out(
    frame: &mut Vec<DetectionRow>,
    each: &mut impl FnMut(&DetectionRow) -> ControlFlow<()>,
) -> ControlFlow<()> {
    frame.sort_unstable_by_key(|row| (row.detection.track_id, row.id));
    let flow = frame.iter().try_for_each(each);
    frame.clear();
    flow
}

impl DetectionQuery {
    /// The `WHERE` clause and its values, in order.
    fn condition(&self, video_id: i64) -> (String, Vec<Value>) {
        let mut sql = String::from("video_id = ?");
        let mut params = vec![Value::from(video_id)];
        let mut also = |clause: &str, value: Option<Value>| {
            if let Some(value) = value {
                sql.push_str(" AND ");
                sql.push_str(clause);
                params.push(value);
            }
        };
        also("frame_number >= ?", self.frame_start.map(Value::from));
        also("frame_number <= ?", self.frame_end.map(Value::from));
        also("confidence_score >= ?", self.min_confidence.map(Value::from));
        also(OF_JOB, self.job_id.clone().map(Value::from));
        (sql, params)
    }
}

const OF_JOB: &str = "import_id = (SELECT id FROM courtside_imports WHERE job_id = ?)";

impl Select<'_> {
    /// The `WHERE` clause and its values, in order. A job's is by its video first, for the index.
    pub(crate) fn condition(self) -> (String, Vec<Value>) {
        match self {
            Self::Video(id) => ("video_id = ?".into(), vec![id.into()]),
            Self::Job(id) => (
                format!("video_id = (SELECT video_id FROM courtside_imports WHERE job_id = ?) AND {OF_JOB}"),
                vec![id.to_owned().into(), id.to_owned().into()],
            ),
        }
    }
}

/// Removes the rows of one import: by the range of their numbers, so that nothing else is looked at,
/// and by the import's own number, since the app may have reused what lies in the range.
pub(crate) fn delete_imported(conn: &Connection, import_id: i64) -> Result<usize> {
    conn.prepare_cached(
        "DELETE FROM player_detections WHERE import_id = ?1
            AND id BETWEEN (SELECT first_detection_id FROM courtside_imports WHERE id = ?1)
                AND (SELECT last_detection_id FROM courtside_imports WHERE id = ?1)",
    )
    .at(conn)?
    .execute([import_id])
    .at(conn)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DetectionRow> {
    Ok(DetectionRow {
        id: row.get(0)?,
        video_id: row.get(1)?,
        player_id: row.get(2)?,
        import_id: row.get(3)?,
        detection: Detection {
            frame: row.get(4)?,
            track_id: row.get(5)?,
            bbox: [row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?],
            confidence: row.get(10)?,
        },
    })
}
