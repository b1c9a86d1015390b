//! Adding, listing and updating videos.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use time::OffsetDateTime;

use crate::enums::ProcessingStatus;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::{games, timestamp, values};

/// Maximum length of `file_path` and `r2_key`, in characters.
const MAX_PATH_CHARS: usize = 500;

/// A row of the videos table.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// Primary key, which is the number that users see.
    pub id: i64,
    /// The game that it belongs to.
    pub game_id: i64,
    /// Path of the file, as it was added.
    pub file_path: String,
    /// Key in the bucket, if it was uploaded.
    pub r2_key: Option<String>,
    /// Path of a thumbnail that the app created.
    pub thumbnail_path: Option<String>,
    /// Duration of the video in seconds.
    pub duration_seconds: Option<f64>,
    /// Average frames per second.
    pub fps: Option<f64>,
    /// Width and height, such as `1920x1080`.
    pub resolution: Option<String>,
    /// When it was added to the library.
    pub upload_date: Option<OffsetDateTime>,
    /// Whether a detection job of it was ever completed.
    pub processed: bool,
    /// State of its latest job.
    pub processing_status: ProcessingStatus,
    /// When it was recorded.
    pub recorded_at: Option<OffsetDateTime>,
    /// Position among the videos of its game.
    pub sequence_order: Option<i64>,
    /// Start time within its game, in seconds.
    pub game_time_offset: Option<f64>,
    /// Number of frames; `None` in rows of the app.
    pub n_frames: Option<i64>,
    /// Size, modification time and hash of the file when it was last read.
    pub file: FileFingerprint,
}

/// Properties that show whether a file has changed since it was read. All are `None` in rows of the app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFingerprint {
    /// Size of the file in bytes.
    pub size_bytes: Option<i64>,
    /// Modification time, in nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: Option<String>,
}

/// A video to add.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVideo {
    /// Path of the file, stored as given: UTF-8, at most 500 characters.
    pub file_path: PathBuf,
    /// Its game. `None` creates a game named after the file.
    pub game_id: Option<i64>,
    /// Key in the bucket, if it is uploaded.
    pub r2_key: Option<String>,
    /// Duration of the video in seconds.
    pub duration_seconds: Option<f64>,
    /// Average frames per second.
    pub fps: Option<f64>,
    /// Width and height in pixels, after rotation.
    pub resolution: Option<(u32, u32)>,
    /// When it was recorded.
    pub recorded_at: Option<OffsetDateTime>,
    /// Number of frames; `None` in rows of the app.
    pub n_frames: Option<i64>,
    /// Size, modification time and hash of the file.
    pub file: FileFingerprint,
}

impl Video {
    /// Width and height of a frame in pixels, from a [`Self::resolution`] such as `1920x1080`. `None` if it is unknown or
    /// of another form.
    pub fn frame_size(&self) -> Option<(u32, u32)> {
        let (width, height) = self.resolution.as_deref()?.split_once('x')?;
        Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
    }
}

impl NewVideo {
    /// A video of which only the path is known.
    pub fn at(file_path: impl Into<PathBuf>) -> Self {
        Self {
            file_path: file_path.into(),
            game_id: None,
            r2_key: None,
            duration_seconds: None,
            fps: None,
            resolution: None,
            recorded_at: None,
            n_frames: None,
            file: FileFingerprint::default(),
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Total number of rows.
    pub total: i64,
    /// 1-based number of this page.
    pub page: i64,
    /// Maximum number of rows on a page.
    pub page_size: i64,
    /// Number of pages; 0 if there are no rows.
    pub total_pages: i64,
}

const COLUMNS: &str = "id, game_id, file_path, r2_key, thumbnail_path, duration_seconds, fps, resolution, upload_date, \
     processed, processing_status, recorded_at, sequence_order, game_time_offset, n_frames, size_bytes, modified_ns, \
     sha256";

impl Library {
    /// Adds a video, and a game named after its file if it has none.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a path that is too long or not UTF-8; [`StoreError::Conflict`] for an
    /// unknown game, or if the app's tables require values that are not known.
    pub fn add_video(&mut self, new: &NewVideo) -> Result<Video> {
        let file_path = checked_path(&new.file_path)?;
        let now = OffsetDateTime::now_utc();
        self.write(|conn| {
            let game_id = match new.game_id {
                Some(id) => games::existing(conn, id)?,
                None => games::for_file(conn, file_path, new.recorded_at.unwrap_or(now), now)?,
            };
            conn.prepare_cached(
                "INSERT INTO videos (game_id, file_path, r2_key, duration_seconds, fps, resolution, upload_date, processed,
                    processing_status, recorded_at, n_frames, size_bytes, modified_ns, sha256)
                 VALUES (:game_id, :file_path, :r2_key, :duration_seconds, :fps, :resolution, :upload_date, 0,
                    :processing_status, :recorded_at, :n_frames, :size_bytes, :modified_ns, :sha256)",
            )
            .at(conn)?
            .execute(named_params! {
                ":game_id": game_id,
                ":file_path": file_path,
                ":r2_key": new.r2_key,
                ":duration_seconds": new.duration_seconds,
                ":fps": new.fps,
                ":resolution": new.resolution.map(|(width, height)| format!("{width}x{height}")),
                ":upload_date": timestamp::to_text(now),
                ":processing_status": ProcessingStatus::Pending.as_str(),
                ":recorded_at": new.recorded_at.map(timestamp::to_text),
                ":n_frames": new.n_frames,
                ":size_bytes": new.file.size_bytes,
                ":modified_ns": new.file.modified_ns,
                ":sha256": new.file.sha256,
            })
            .at(conn)?;
            let id = conn.last_insert_rowid();
            video(conn, id)?.ok_or(StoreError::UnknownVideo(id))
        })
    }

    /// The video with this id; `None` if it is unknown.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn video(&self, id: i64) -> Result<Option<Video>> {
        video(&self.conn, id)
    }

    /// The newest video with exactly this stored path; `None` if no video has it.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn video_by_path(&self, file_path: &str) -> Result<Option<Video>> {
        let sql = format!("SELECT {COLUMNS} FROM videos WHERE file_path = ?1 ORDER BY id DESC LIMIT 1");
        let conn = &self.conn;
        conn.prepare_cached(&sql).at(conn)?.query_row([file_path], read).optional().at(conn)
    }

    /// A page of the videos, newest first. Pages are numbered from 1; a page past the last is empty.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a page or page size below 1.
    pub fn videos(&self, page: i64, page_size: i64) -> Result<Page<Video>> {
        if page < 1 || page_size < 1 {
            return Err(StoreError::BadInput("page and page_size must be at least 1".into()));
        }
        let conn = &self.conn;
        let total: i64 = conn.query_row("SELECT count(*) FROM videos", [], |row| row.get(0)).at(conn)?;
        let sql = format!("SELECT {COLUMNS} FROM videos ORDER BY id DESC LIMIT ?1 OFFSET ?2");
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows =
            statement.query_map(params![page_size, (page - 1).saturating_mul(page_size)], read).at(conn)?;
        let items = rows.collect::<rusqlite::Result<_>>().at(conn)?;
        Ok(Page { items, total, page, page_size, total_pages: (total + page_size - 1) / page_size })
    }

    /// Sets the key of the video in the bucket; `None` if the bucket no longer has it.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`], [`StoreError::BadInput`] for a key of more than 500 characters.
    pub fn set_video_r2_key(&self, id: i64, r2_key: Option<&str>) -> Result<()> {
        if r2_key.is_some_and(|key| key.chars().count() > MAX_PATH_CHARS) {
            return Err(StoreError::BadInput(format!(
                "the bucket key has more than {MAX_PATH_CHARS} characters"
            )));
        }
        self.update_video(id, "UPDATE videos SET r2_key = ?2 WHERE id = ?1", params![id, r2_key])
    }

    /// Sets the processing status. `Completed` also marks the video as processed, and other statuses keep
    /// that mark.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`].
    pub fn set_processing_status(&self, id: i64, status: ProcessingStatus) -> Result<()> {
        self.update_video(
            id,
            "UPDATE videos SET processing_status = ?2, processed = CASE WHEN ?3 THEN 1 ELSE processed END WHERE id = ?1",
            params![id, status.as_str(), status == ProcessingStatus::Completed],
        )
    }

    /// Sets the number of frames and the fingerprint of the file. The app's own columns are not changed.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`].
    pub fn set_video_fingerprint(
        &self,
        id: i64,
        n_frames: Option<i64>,
        file: &FileFingerprint,
    ) -> Result<()> {
        self.update_video(
            id,
            "UPDATE videos SET n_frames = ?2, size_bytes = ?3, modified_ns = ?4, sha256 = ?5 WHERE id = ?1",
            params![id, n_frames, file.size_bytes, file.modified_ns, file.sha256],
        )
    }

    fn update_video(&self, id: i64, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        let n_changed = self.conn.prepare_cached(sql).at(&self.conn)?.execute(params).at(&self.conn)?;
        if n_changed == 0 { Err(StoreError::UnknownVideo(id)) } else { Ok(()) }
    }
}

/// The video with this id; `None` if it is unknown.
pub(crate) fn video(conn: &Connection, id: i64) -> Result<Option<Video>> {
    let sql = format!("SELECT {COLUMNS} FROM videos WHERE id = ?1");
    conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
}

pub(crate) fn checked_path(path: &Path) -> Result<&str> {
    let text = path
        .to_str()
        .ok_or_else(|| StoreError::BadInput(format!("{} is not UTF-8; rename the file", path.display())))?;
    let n_chars = text.chars().count();
    if n_chars == 0 || n_chars > MAX_PATH_CHARS {
        return Err(StoreError::BadInput(format!(
            "the path of a video must have 1 to {MAX_PATH_CHARS} characters, but this one has {n_chars}: {text}"
        )));
    }
    Ok(text)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Video> {
    Ok(Video {
        id: row.get("id")?,
        game_id: row.get("game_id")?,
        file_path: row.get("file_path")?,
        r2_key: row.get("r2_key")?,
        thumbnail_path: row.get("thumbnail_path")?,
        duration_seconds: row.get("duration_seconds")?,
        fps: row.get("fps")?,
        resolution: row.get("resolution")?,
        upload_date: values::time(row, "videos", "upload_date")?,
        processed: row.get::<_, Option<bool>>("processed")?.unwrap_or(false),
        processing_status: values::parsed(row, "videos", "processing_status", ProcessingStatus::from_name)?
            .unwrap_or(ProcessingStatus::Pending),
        recorded_at: values::time(row, "videos", "recorded_at")?,
        sequence_order: row.get("sequence_order")?,
        game_time_offset: row.get("game_time_offset")?,
        n_frames: row.get("n_frames")?,
        file: FileFingerprint {
            size_bytes: row.get("size_bytes")?,
            modified_ns: row.get("modified_ns")?,
            sha256: row.get("sha256")?,
        },
    })
}
