//! Which detections a video or a job has, as a condition on rows.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params_from_iter};

use crate::error::{AtDatabase as _, Result};
use crate::import::{self, ImportRow};
use crate::library::Library;
use crate::writes;

/// The video or the job whose detections to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectionScope<'a> {
    /// The detections of a video: those of the latest import; if there is none, those that other programs inserted.
    Video(i64),
    /// The detections of one job.
    Job(&'a str),
}

/// The rows of a scope.
pub(crate) struct ScopeRows {
    /// The import that inserted them; `None` for rows of other programs.
    pub(crate) import: Option<ImportRow>,
    condition: String,
    values: Vec<Value>,
}

impl ScopeRows {
    /// The `WHERE` condition and its parameters, in order. It names the video, to use the index.
    pub(crate) fn condition(&self) -> (String, Vec<Value>) {
        (self.condition.clone(), self.values.clone())
    }
}

impl Library {
    /// The import whose detections a scope has; `None` if they are of other programs, or there are none.
    ///
    /// # Errors
    /// [`StoreError::BadValue`](crate::StoreError::BadValue) for a row with an invalid value.
    pub fn import_in(&self, scope: DetectionScope<'_>) -> Result<Option<ImportRow>> {
        Ok(self.rows(scope)?.and_then(|rows| rows.import))
    }

    /// The rows of a scope; `None` if the job is not imported.
    pub(crate) fn rows(&self, scope: DetectionScope<'_>) -> Result<Option<ScopeRows>> {
        match scope {
            DetectionScope::Job(id) => {
                self.import_of(id)?.map(|import| self.rows_of_import(import)).transpose()
            }
            DetectionScope::Video(id) => {
                for import in self.imports(id)? {
                    let rows = self.rows_of_import(import)?;
                    if self.has_any(&rows)? {
                        return Ok(Some(rows));
                    }
                }
                self.rows_of_others(id).map(Some)
            }
        }
    }

    fn rows_of_import(&self, import: ImportRow) -> Result<ScopeRows> {
        let (ids, mut values) = writes::condition(&import::rows_of(&self.conn, &import)?);
        values.insert(0, import.video_id.into());
        Ok(ScopeRows { import: Some(import), condition: format!("video_id = ? AND {ids}"), values })
    }

    fn rows_of_others(&self, video_id: i64) -> Result<ScopeRows> {
        let (ids, mut values) = writes::condition(&writes::ranges_of_video(&self.conn, video_id)?);
        values.insert(0, video_id.into());
        Ok(ScopeRows { import: None, condition: format!("video_id = ? AND NOT {ids}"), values })
    }

    /// Whether an import still has rows, unless it never had any: the app may have deleted them.
    fn has_any(&self, rows: &ScopeRows) -> Result<bool> {
        if rows.import.as_ref().is_some_and(|import| import.n_detections == 0) {
            return Ok(true);
        }
        let (condition, values) = rows.condition();
        // By id, not by frame: the ids of an import are few ranges.
        let sql = format!("SELECT 1 FROM player_detections NOT INDEXED WHERE {condition} LIMIT 1");
        let conn = &self.conn;
        let found =
            conn.prepare_cached(&sql).at(conn)?.query_row(params_from_iter(values), |_| Ok(())).optional();
        Ok(found.at(conn)?.is_some())
    }
}
