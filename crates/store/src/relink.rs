//! Relinking a video whose file was moved.

use std::path::Path;

use rusqlite::params;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::videos::checked_path;

impl Library {
    /// Sets the path of a video's file, stored as given.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::BadInput`] for a path that is not UTF-8, or longer than 500
    /// characters.
    pub fn set_video_path(&self, id: i64, file: &Path) -> Result<()> {
        let path = checked_path(file)?;
        let sql = "UPDATE videos SET file_path = ?2 WHERE id = ?1";
        let n_changed = self.write(|conn| conn.execute(sql, params![id, path]).at(conn))?;
        if n_changed == 0 { Err(StoreError::UnknownVideo(id)) } else { Ok(()) }
    }
}
