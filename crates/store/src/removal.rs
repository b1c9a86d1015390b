//! Removing videos and jobs from the library.

use rusqlite::{Connection, OptionalExtension as _};

use crate::detections::delete_imported;
use crate::enums::ProcessingStatus;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;

/// What was removed along with a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemovalReport {
    /// Number of deleted detections.
    pub n_detections: i64,
    /// Number of deleted jobs, imported or not.
    pub n_jobs: i64,
}

impl Library {
    /// Removes a video with its detections and jobs, but not its file or anything in a bucket. `force`
    /// also removes a video with open jobs.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] while one of its jobs is open, or if other
    /// rows of the app refer to the removed ones.
    pub fn remove_video(&mut self, id: i64, force: bool) -> Result<RemovalReport> {
        self.write(|conn| {
            if !force && let Some(job) = open_job(conn, id)? {
                return Err(StoreError::Conflict(format!(
                    "job {job} of video {id} has not ended; cancel it first, or force the removal"
                )));
            }
            let delete = |sql| conn.execute(sql, [id]).at(conn).map(|n| n as i64);
            let n_detections = delete("DELETE FROM player_detections WHERE video_id = ?1")?;
            delete(
                "DELETE FROM courtside_jobs WHERE id IN (SELECT id FROM processing_jobs WHERE video_id = ?1)",
            )?;
            let n_jobs = delete("DELETE FROM processing_jobs WHERE video_id = ?1")?;
            delete("DELETE FROM courtside_imports WHERE video_id = ?1")?;
            if delete("DELETE FROM videos WHERE id = ?1")? == 0 {
                return Err(StoreError::UnknownVideo(id));
            }
            Ok(RemovalReport { n_detections, n_jobs })
        })
    }

    /// Removes a job with its detections. If its video has no other detections, it becomes unprocessed.
    /// `force` also removes an open job.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`]; [`StoreError::Conflict`] while the job is open, or if other rows of the
    /// app refer to the removed ones.
    pub fn remove_job(&mut self, id: &str, force: bool) -> Result<RemovalReport> {
        self.write(|conn| {
            let row = conn.query_row(
                "SELECT video_id, status IN ('PENDING', 'PROCESSING') FROM processing_jobs WHERE id = ?1",
                [id],
                |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, bool>(1)?)),
            );
            let (video_id, is_open) =
                row.optional().at(conn)?.ok_or_else(|| StoreError::UnknownJob(id.to_owned()))?;
            if is_open && !force {
                return Err(StoreError::Conflict(format!(
                    "job {id} has not ended; cancel it first, or force the removal"
                )));
            }
            let import =
                conn.query_row("SELECT id FROM courtside_imports WHERE job_id = ?1", [id], |row| row.get(0));
            let n_detections = match import.optional().at(conn)? {
                Some(import_id) => delete_imported(conn, import_id)? as i64,
                None => 0,
            };
            conn.execute("DELETE FROM courtside_imports WHERE job_id = ?1", [id]).at(conn)?;
            conn.execute("DELETE FROM courtside_jobs WHERE id = ?1", [id]).at(conn)?;
            conn.execute("DELETE FROM processing_jobs WHERE id = ?1", [id]).at(conn)?;
            if let Some(video_id) = video_id.filter(|_| n_detections > 0) {
                reset_if_empty(conn, video_id)?;
            }
            Ok(RemovalReport { n_detections, n_jobs: 1 })
        })
    }
}

fn open_job(conn: &Connection, video_id: i64) -> Result<Option<String>> {
    let sql =
        "SELECT id FROM processing_jobs WHERE video_id = ?1 AND status IN ('PENDING', 'PROCESSING') LIMIT 1";
    conn.query_row(sql, [video_id], |row| row.get(0)).optional().at(conn)
}

/// Marks a video as not processed if it has no detections.
fn reset_if_empty(conn: &Connection, video_id: i64) -> Result<()> {
    conn.execute(
        "UPDATE videos SET processed = 0, processing_status = ?2 WHERE id = ?1
            AND NOT EXISTS (SELECT 1 FROM player_detections WHERE video_id = ?1)
            AND NOT EXISTS (SELECT 1 FROM courtside_imports WHERE video_id = ?1)",
        rusqlite::params![video_id, ProcessingStatus::Pending.as_str()],
    )
    .at(conn)?;
    Ok(())
}
