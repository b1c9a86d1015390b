//! Removing videos and jobs from the library.

use rusqlite::{Connection, OptionalExtension as _};

use crate::enums::ProcessingStatus;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::import::ImportRow;
use crate::library::Library;
use crate::schema::columns::AppColumns;
use crate::{games, import, jobs, videos, writes};

/// What was removed along with a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovalReport {
    /// Number of deleted detections.
    pub n_detections: i64,
    /// Number of deleted jobs, imported or not.
    pub n_jobs: i64,
}

impl Library {
    /// Removes a video with its detections and jobs, and the game that was made for it, but not its file or anything in a bucket. `force`
    /// also removes a video with open jobs. The detections go in several transactions, and the video in the last one:
    /// after an error or a crash, call it again.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] while one of its jobs is open, or if other
    /// rows of the app refer to the removed ones.
    pub fn remove_video(&mut self, id: i64, force: bool) -> Result<RemovalReport> {
        if !videos::exists(&self.conn, id)? {
            return Err(StoreError::UnknownVideo(id));
        }
        if !force && let Some(job) = jobs::open_job(&self.conn, &self.app, id)? {
            return Err(StoreError::Conflict(format!("job {job} of video {id} has not ended")));
        }
        self.check_removable(id)?;
        let n_detections = self.delete_detections(id)?;
        self.write(|conn| {
            let n_jobs = jobs::delete_of_video(conn, &self.app, id)?;
            let sql = "DELETE FROM courtside_videos WHERE video_id = ?1 RETURNING made_game";
            let made_game: Option<Option<i64>> =
                conn.query_row(sql, [id], |row| row.get(0)).optional().at(conn)?;
            conn.execute("DELETE FROM courtside_edits WHERE video_id = ?1", [id]).at(conn)?;
            conn.execute("DELETE FROM videos WHERE id = ?1", [id]).at(conn)?;
            if let Some(game) = made_game.flatten() {
                games::remove_made(conn, &self.app, game)?;
            }
            Ok(RemovalReport { n_detections, n_jobs })
        })
    }

    /// Checks that no table of the app refers to a video or to its detections.
    fn check_removable(&self, id: i64) -> Result<()> {
        let conn = &self.conn;
        if writes::is_referred_to_of_video(conn, id)? || writes::is_video_referred_to(conn, id)? {
            return Err(StoreError::Conflict(format!(
                "other rows of the database refer to video {id} or to its detections; nothing was changed"
            )));
        }
        Ok(())
    }

    /// Number of detections of a video, of every job and of other programs.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn n_detections(&self, video_id: i64) -> Result<i64> {
        let sql = "SELECT count(*) FROM player_detections WHERE video_id = ?1";
        self.conn.query_row(sql, [video_id], |row| row.get(0)).at(&self.conn)
    }

    /// Removes all detections of a video, of every job and of other programs. Returns how many there were.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] if other rows of the app refer to detections.
    pub fn remove_detections(&mut self, video_id: i64) -> Result<i64> {
        if !videos::exists(&self.conn, video_id)? {
            return Err(StoreError::UnknownVideo(video_id));
        }
        if writes::is_referred_to_of_video(&self.conn, video_id)? {
            return Err(StoreError::Conflict(format!(
                "other rows of the database refer to detections of video {video_id}; nothing was changed"
            )));
        }
        self.delete_detections(video_id)
    }

    /// Does what [`Self::remove_detections`] does, after its checks.
    fn delete_detections(&self, video_id: i64) -> Result<i64> {
        self.write(|conn| {
            for import in self.imports(video_id)? {
                forget_import(conn, &import)?;
            }
            // Also imports that other processes are writing.
            writes::abandon_all(conn, video_id)
        })?;
        let n_removed = writes::remove_all_rows(self, video_id)?;
        writes::collect_garbage(self)?;
        self.write(|conn| reset_if_empty(conn, &self.app, video_id))?;
        Ok(n_removed)
    }

    /// Removes a job with its detections. If its video has no other detections, it becomes unprocessed.
    /// `force` also removes an open job.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::Conflict`] while the job is open, or if other rows of the
    /// app refer to the removed ones.
    pub fn remove_job(&mut self, id: &str, force: bool) -> Result<RemovalReport> {
        let found = jobs::video_of(&self.conn, &self.app, id)?;
        let (video_id, is_open) = found.ok_or_else(|| StoreError::UnknownJob(id.to_owned()))?;
        if is_open && !force {
            return Err(StoreError::Conflict(format!("job {id} has not ended")));
        }
        let import = self.import_of(id)?;
        let rows = import.as_ref().map_or(Ok(Vec::new()), |import| import::rows_of(&self.conn, import))?;
        if writes::is_referred_to(&self.conn, &rows)? {
            return Err(StoreError::Conflict(format!(
                "other rows of the database refer to detections of job {id}; nothing was changed"
            )));
        }
        let n_detections = import.as_ref().map_or(Ok(0), |import| import::count(&self.conn, import))?;
        self.write(|conn| {
            if let Some(import) = &import {
                forget_import(conn, import)?;
            }
            conn.execute("DELETE FROM courtside_edits WHERE job_id = ?1", [id]).at(conn)?;
            jobs::delete(conn, &self.app, id)
        })?;
        writes::collect_garbage(self)?;
        if let Some(video_id) = video_id.filter(|_| n_detections > 0) {
            self.write(|conn| reset_if_empty(conn, &self.app, video_id))?;
        }
        Ok(RemovalReport { n_detections, n_jobs: 1 })
    }
}

/// Makes the rows of an import invisible, within the transaction of the caller. [`writes::collect_garbage`] removes them.
fn forget_import(conn: &Connection, import: &ImportRow) -> Result<()> {
    conn.execute("DELETE FROM courtside_imports WHERE id = ?1", [import.id]).at(conn)?;
    import.write_id.map_or(Ok(()), |write_id| writes::abandon(conn, write_id))
}

/// Marks a video as not processed if it has no detections.
fn reset_if_empty(conn: &Connection, app: &AppColumns, video_id: i64) -> Result<()> {
    if !(app.videos.has("processed") && app.videos.has("processing_status")) {
        return Ok(());
    }
    conn.execute(
        "UPDATE videos SET processed = 0, processing_status = ?2 WHERE id = ?1
            AND NOT EXISTS (SELECT 1 FROM player_detections WHERE video_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM courtside_imports WHERE video_id = ?1)",
        rusqlite::params![video_id, ProcessingStatus::Pending.as_str()],
    )
    .at(conn)?;
    Ok(())
}
