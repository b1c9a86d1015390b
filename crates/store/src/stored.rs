//! The stored totals and tracks of an import, and whether they are still those of its rows: the app may have deleted or
//! changed some. If they are not, they are computed from the rows.
//!
//! Checking reads all rows of the import once. It is done for each connection, and again after another connection has
//! changed the database.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Row;

use crate::error::Result;
use crate::import::ImportRow;
use crate::library::{Library, data_version};
use crate::scope::ScopeRows;
use crate::tracks::{self, Tracks};
use crate::writes::RowState;

/// What is stored of an import, and the rows that it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredTotals {
    /// Number of frames with detections.
    pub(crate) n_frames: i64,
    pub(crate) rows: RowState,
}

/// Reads the totals in a row of `courtside_imports`; `None` if they are not stored.
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Option<StoredTotals>> {
    let n_frames: Option<i64> = row.get("n_frames_with_detections")?;
    let (n, checksum): (Option<i64>, Option<i64>) = (row.get("n_rows")?, row.get("checksum")?);
    let stored = n_frames.zip(n.zip(checksum));
    Ok(stored.map(|(n_frames, (n, checksum))| StoredTotals { n_frames, rows: RowState { n, checksum } }))
}

/// What was found about imports, by their writes, in one version of the database.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    data_version: i64,
    found: HashMap<i64, Found>,
}

#[derive(Debug, Clone)]
enum Found {
    /// What is stored is current.
    Current(StoredTotals),
    /// The tracks of the rows, where what is stored is not theirs.
    Computed(Arc<Tracks>),
}

/// Number of detections, and of frames with detections.
pub(crate) type Totals = (i64, i64);

impl Library {
    /// The totals of the rows of an import; `None` for rows of other programs.
    pub(crate) fn totals_of_import(&self, rows: &ScopeRows) -> Result<Option<Totals>> {
        let Some((import, write_id)) = imported(rows) else { return Ok(None) };
        Ok(Some(match self.check(import, write_id, rows)? {
            Found::Current(stored) => (stored.rows.n, stored.n_frames),
            Found::Computed(tracks) => (tracks.n_detections(), tracks.n_frames),
        }))
    }

    /// The tracks of the rows of a scope.
    pub(crate) fn tracks(&self, rows: &ScopeRows) -> Result<Arc<Tracks>> {
        let Some((import, write_id)) = imported(rows) else {
            return tracks::compute(self, rows, None).map(Arc::new);
        };
        match self.check(import, write_id, rows)? {
            Found::Current(stored) => tracks::stored(&self.conn, write_id, stored.n_frames).map(Arc::new),
            Found::Computed(tracks) => Ok(tracks),
        }
    }

    fn check(&self, import: &ImportRow, write_id: i64, rows: &ScopeRows) -> Result<Found> {
        let data_version = data_version(&self.conn)?;
        let is_new = self.checked.borrow().data_version != data_version;
        if is_new {
            *self.checked.borrow_mut() = Checked { data_version, found: HashMap::new() };
        }
        if let Some(found) = self.checked.borrow().found.get(&write_id) {
            return Ok(found.clone());
        }
        let now = RowState::read(&self.conn, write_id, import.video_id)?;
        let found = match import.stored.filter(|stored| stored.rows == now) {
            Some(stored) => Found::Current(stored),
            None => Found::Computed(Arc::new(tracks::compute(self, rows, None)?)),
        };
        self.checked.borrow_mut().found.insert(write_id, found.clone());
        Ok(found)
    }
}

fn imported(rows: &ScopeRows) -> Option<(&ImportRow, i64)> {
    let import = rows.import.as_ref()?;
    Some((import, import.write_id?))
}
