//! Videos: added, listed, noted.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use time::OffsetDateTime;

use crate::error::At as _;
use crate::library::Library;
use crate::{ProcessingStatus, Result, StoreError, games, timestamp, values};

/// Longest `file_path` and `r2_key`, in characters.
const MAX_PATH_CHARS: usize = 500;

/// A video of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// Its number.
    pub id: i64,
    /// The game it shows.
    pub game_id: i64,
    /// The file, as it was given.
    pub file_path: String,
    /// Its key in the bucket, where it was uploaded.
    pub r2_key: Option<String>,
    /// A picture of it, made by the app.
    pub thumbnail_path: Option<String>,
    /// Length in seconds.
    pub duration_seconds: Option<f64>,
    /// Frames per second.
    pub fps: Option<f64>,
    /// `1920x1080`.
    pub resolution: Option<String>,
    /// When it came into the library.
    pub upload_date: Option<OffsetDateTime>,
    /// Whether detections of it were ever completed.
    pub processed: bool,
    /// How far it is.
    pub processing_status: ProcessingStatus,
    /// When it was filmed.
    pub recorded_at: Option<OffsetDateTime>,
    /// Its place among the videos of its game.
    pub sequence_order: Option<i64>,
    /// Where it begins within its game, in seconds.
    pub game_time_offset: Option<f64>,
    /// Number of frames.
    pub n_frames: Option<i64>,
    /// What was known of the file when it was last read.
    pub file: FileFacts,
}

/// What tells whether a file is still the one that was read. All of it is null in rows of the app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Size in bytes.
    pub size_bytes: Option<i64>,
    /// Time of the last change, in nanoseconds since 1970.
    pub modified_ns: Option<i64>,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: Option<String>,
}

/// A video to be added.
#[derive(Debug, Clone, PartialEq)]
pub struct NewVideo {
    /// The file, stored as given: UTF-8, at most 500 characters.
    pub file_path: PathBuf,
    /// Its game; without one, a game named after the file is made.
    pub game_id: Option<i64>,
    /// Its key in the bucket.
    pub r2_key: Option<String>,
    /// Length in seconds.
    pub duration_seconds: Option<f64>,
    /// Frames per second.
    pub fps: Option<f64>,
    /// Width and height in pixels, as shown.
    pub resolution: Option<(u32, u32)>,
    /// When it was filmed.
    pub recorded_at: Option<OffsetDateTime>,
    /// Number of frames.
    pub n_frames: Option<i64>,
    /// What tells whether the file is still the same.
    pub file: FileFacts,
}

impl NewVideo {
    /// A video of which nothing is known but where it is.
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
            file: FileFacts::default(),
        }
    }
}

/// A part of a long list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows of this page.
    pub items: Vec<T>,
    /// Rows in all.
    pub total: i64,
    /// Number of this page, from 1.
    pub page: i64,
    /// Rows to a page.
    pub page_size: i64,
    /// Number of pages; 0 where there are no rows.
    pub total_pages: i64,
}

const COLUMNS: &str = "id, game_id, file_path, r2_key, thumbnail_path, duration_seconds, fps, resolution, upload_date, \
     processed, processing_status, recorded_at, sequence_order, game_time_offset, n_frames, size_bytes, modified_ns, \
     sha256";

impl Library {
    /// Adds a video, with a game named after its file if it has none.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a path that is too long or not UTF-8, [`StoreError::Conflict`] for a
    /// game that is not there, or where the app's tables demand what we do not know.
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

    /// The video of a number.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn video(&self, id: i64) -> Result<Option<Video>> {
        video(&self.conn, id)
    }

    /// The video of a file, by its path exactly as stored; the newest where there are several.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn video_by_path(&self, file_path: &str) -> Result<Option<Video>> {
        let sql = format!("SELECT {COLUMNS} FROM videos WHERE file_path = ?1 ORDER BY id DESC LIMIT 1");
        let conn = &self.conn;
        conn.prepare_cached(&sql).at(conn)?.query_row([file_path], read).optional().at(conn)
    }

    /// A page of the videos, newest first. Pages count from 1; a page beyond the last is empty.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a page or a size below 1.
    pub fn videos(&self, page: i64, page_size: i64) -> Result<Page<Video>> {
        if page < 1 || page_size < 1 {
            return Err(StoreError::BadInput("page and page_size count from 1".into()));
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

    /// Notes where the bucket has the video, or that it has it no longer.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`], [`StoreError::BadInput`] for a key of more than 500 characters.
    pub fn set_video_r2_key(&self, id: i64, r2_key: Option<&str>) -> Result<()> {
        if r2_key.is_some_and(|key| key.chars().count() > MAX_PATH_CHARS) {
            return Err(StoreError::BadInput(format!("the key has more than {MAX_PATH_CHARS} characters")));
        }
        self.change_video(id, "UPDATE videos SET r2_key = ?2 WHERE id = ?1", params![id, r2_key])
    }

    /// Sets how far a video is. `Completed` also marks it as processed; nothing takes that mark back.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`].
    pub fn set_processing(&self, id: i64, status: ProcessingStatus) -> Result<()> {
        self.change_video(
            id,
            "UPDATE videos SET processing_status = ?2, processed = CASE WHEN ?3 THEN 1 ELSE processed END WHERE id = ?1",
            params![id, status.as_str(), status == ProcessingStatus::Completed],
        )
    }

    /// Notes the number of frames and what tells whether the file is still the same. The app's own
    /// columns are left alone.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`].
    pub fn set_video_file(&self, id: i64, n_frames: Option<i64>, file: &FileFacts) -> Result<()> {
        self.change_video(
            id,
            "UPDATE videos SET n_frames = ?2, size_bytes = ?3, modified_ns = ?4, sha256 = ?5 WHERE id = ?1",
            params![id, n_frames, file.size_bytes, file.modified_ns, file.sha256],
        )
    }

    fn change_video(&self, id: i64, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        let n_changed = self.conn.prepare_cached(sql).at(&self.conn)?.execute(params).at(&self.conn)?;
        if n_changed == 0 { Err(StoreError::UnknownVideo(id)) } else { Ok(()) }
    }
}

/// The video of a number.
pub(crate) fn video(conn: &Connection, id: i64) -> Result<Option<Video>> {
    let sql = format!("SELECT {COLUMNS} FROM videos WHERE id = ?1");
    conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
}

fn checked_path(path: &Path) -> Result<&str> {
    let text = path
        .to_str()
        .ok_or_else(|| StoreError::BadInput(format!("{} is not UTF-8; rename the file", path.display())))?;
    let n_chars = text.chars().count();
    if n_chars == 0 || n_chars > MAX_PATH_CHARS {
        return Err(StoreError::BadInput(format!(
            "the path of a video has 1 to {MAX_PATH_CHARS} characters, this one {n_chars}: {text}"
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
        processing_status: values::name(row, "videos", "processing_status", ProcessingStatus::from_name)?
            .unwrap_or(ProcessingStatus::Pending),
        recorded_at: values::time(row, "videos", "recorded_at")?,
        sequence_order: row.get("sequence_order")?,
        game_time_offset: row.get("game_time_offset")?,
        n_frames: row.get("n_frames")?,
        file: FileFacts {
            size_bytes: row.get("size_bytes")?,
            modified_ns: row.get("modified_ns")?,
            sha256: row.get("sha256")?,
        },
    })
}
