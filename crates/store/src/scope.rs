//! Which detections a video or a job has, as a condition on rows.

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::edits::Correction;
use crate::error::Result;
use crate::import::ImportRow;
use crate::library::Library;
use crate::writes::{RowSet, RowState};

/// The video or the job whose detections to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetectionScope<'a> {
    /// The detections of a video: those of the latest import; if there is none, those that other programs inserted.
    Video(i64),
    /// The detections of one job.
    Job(&'a str),
}

/// Detections as they are read: with the edits of their tracks, or as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetectionView<'a> {
    /// Whose detections.
    pub scope: DetectionScope<'a>,
    /// Whether to ignore edits.
    pub is_raw: bool,
}

impl<'a> DetectionScope<'a> {
    /// The detections as they are stored.
    pub fn raw(self) -> DetectionView<'a> {
        DetectionView { scope: self, is_raw: true }
    }
}

impl<'a> From<DetectionScope<'a>> for DetectionView<'a> {
    /// The detections with the edits of their tracks.
    fn from(scope: DetectionScope<'a>) -> Self {
        Self { scope, is_raw: false }
    }
}

/// The rows of a scope.
pub(crate) struct ScopeRows {
    /// The import that inserted them; `None` for rows of other programs.
    pub(crate) import: Option<ImportRow>,
    rows: RowSet,
}

impl ScopeRows {
    /// The `WHERE` condition and its parameters, in order. It names the video, to use the index.
    pub(crate) fn condition(&self, conn: &Connection) -> Result<(String, Vec<Value>)> {
        self.rows.condition(conn)
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

    /// The rows of a view and their edits, if any are to be applied; `None` if the job is not imported.
    pub(crate) fn rows_of(&self, view: DetectionView<'_>) -> Result<Option<(ScopeRows, Option<Correction>)>> {
        let Some(rows) = self.rows(view.scope)? else { return Ok(None) };
        let correction = if view.is_raw { None } else { self.correction(&rows, view.scope)? };
        Ok(Some((rows, correction)))
    }

    /// The rows of a scope; `None` if the job is not imported.
    pub(crate) fn rows(&self, scope: DetectionScope<'_>) -> Result<Option<ScopeRows>> {
        match scope {
            DetectionScope::Job(id) => Ok(self.import_of(id)?.map(rows_of_import)),
            DetectionScope::Video(id) => {
                for import in self.imports(id)? {
                    if self.has_any(&import)? {
                        return Ok(Some(rows_of_import(import)));
                    }
                }
                Ok(Some(ScopeRows { import: None, rows: RowSet::OfOthers { video_id: id } }))
            }
        }
    }

    /// Whether an import still has rows, unless it never had any: the app may have deleted them.
    fn has_any(&self, import: &ImportRow) -> Result<bool> {
        match import.write_id {
            _ if import.n_detections == 0 => Ok(true),
            Some(write_id) => RowState::has_any(&self.conn, write_id, import.video_id),
            None => Ok(false),
        }
    }
}

fn rows_of_import(import: ImportRow) -> ScopeRows {
    let rows = RowSet::OfWrite { video_id: import.video_id, write_id: import.write_id };
    ScopeRows { import: Some(import), rows }
}
