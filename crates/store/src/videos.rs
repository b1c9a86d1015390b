//! Adding, listing and updating videos.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use time::OffsetDateTime;

use crate::enums::ProcessingStatus;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::schema::columns::AppColumns;
use crate::values::Reader;
use crate::{games, timestamp};

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
    /// Number of the video stream that was chosen, of a file with several; `None`: the one that players show.
    pub stream: Option<u32>,
    /// Size, modification time and hash of the file when it was last read.
    pub file: FileFingerprint,
    /// Values that cannot be read and are left out, such as `processing_status is "ARCHIVED"`. The file keeps them.
    pub unreadable: Vec<String>,
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
    /// Number of the video stream that was chosen, of a file with several; `None`: the one that players show.
    pub stream: Option<u32>,
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
            stream: None,
            file: FileFingerprint::default(),
        }
    }
}

/// A filter on the list of videos. The default matches all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VideoFilter {
    /// Only videos of this game.
    pub game_id: Option<i64>,
    /// Only videos that were, or were not, processed.
    pub processed: Option<bool>,
    /// Only videos with this state.
    pub processing_status: Option<ProcessingStatus>,
}

impl VideoFilter {
    /// The `WHERE` condition and its parameters, in order.
    fn condition(self, app: &AppColumns) -> (String, Vec<Value>) {
        let status = self.processing_status.map(|status| status.as_str().to_owned());
        let wanted: [(&str, Option<Value>); 3] = [
            ("game_id", self.game_id.map(Value::from)),
            ("processed", self.processed.map(|flag| Value::from(i64::from(flag)))),
            ("processing_status", status.map(Value::from)),
        ];
        let (mut sql, mut values) = (String::from("1"), Vec::new());
        for (column, value) in wanted {
            if let Some(value) = value.filter(|_| app.videos.has(column)) {
                sql.push_str(&format!(" AND v.{column} = ?"));
                values.push(value);
            }
        }
        (sql, values)
    }
}

/// Changes to a video. Columns whose field is `None` keep their value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VideoEdit {
    /// The game that it belongs to.
    pub game_id: Option<i64>,
    /// When it was recorded.
    pub recorded_at: Option<OffsetDateTime>,
    /// Position among the videos of its game.
    pub sequence_order: Option<i64>,
    /// Start time within its game, in seconds.
    pub game_time_offset: Option<f64>,
    /// Path of the file.
    pub file_path: Option<String>,
}

impl VideoEdit {
    /// The columns to change, with their new values.
    fn values(&self) -> Vec<(&'static str, Value)> {
        let recorded_at = self.recorded_at.map(timestamp::to_text);
        let values = [
            ("game_id", self.game_id.map(Value::from)),
            ("recorded_at", recorded_at.map(Value::from)),
            ("sequence_order", self.sequence_order.map(Value::from)),
            ("game_time_offset", self.game_time_offset.map(Value::from)),
            ("file_path", self.file_path.clone().map(Value::from)),
        ];
        values.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()
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

/// Columns of the app that may be missing in an older file.
const OPTIONAL: [&str; 11] = [
    "r2_key",
    "thumbnail_path",
    "duration_seconds",
    "fps",
    "resolution",
    "upload_date",
    "processed",
    "processing_status",
    "recorded_at",
    "sequence_order",
    "game_time_offset",
];

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
            let (game_id, is_made) = match new.game_id {
                Some(id) => (games::existing(conn, id)?, false),
                None => games::for_file(conn, &self.app, file_path, new.recorded_at.unwrap_or(now), now)?,
            };
            let resolution = new.resolution.map(|(width, height)| format!("{width}x{height}"));
            let values: [(&str, &dyn ToSql); 10] = [
                ("game_id", &game_id),
                ("file_path", &file_path),
                ("r2_key", &new.r2_key),
                ("duration_seconds", &new.duration_seconds),
                ("fps", &new.fps),
                ("resolution", &resolution),
                ("upload_date", &timestamp::to_text(now)),
                ("processed", &false),
                ("processing_status", &ProcessingStatus::Pending.as_str()),
                ("recorded_at", &new.recorded_at.map(timestamp::to_text)),
            ];
            self.app.videos.insert(conn, "videos", &values, "")?;
            let id = conn.last_insert_rowid();
            register(conn, &self.app, id)?;
            set_fingerprint(conn, id, new.n_frames, &new.file)?;
            let sql = "UPDATE courtside_videos SET stream = ?2, made_game = ?3 WHERE video_id = ?1";
            conn.execute(sql, params![id, new.stream, is_made.then_some(game_id)]).at(conn)?;
            self.video(id)?.ok_or(StoreError::UnknownVideo(id))
        })
    }

    /// The video with this id; `None` if it is unknown.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn video(&self, id: i64) -> Result<Option<Video>> {
        let sql = format!("{} WHERE v.id = ?1", self.select_videos());
        let conn = &self.conn;
        conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
    }

    /// The newest video with exactly this stored path; `None` if no video has it.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn video_by_path(&self, file_path: &str) -> Result<Option<Video>> {
        let sql = format!("{} WHERE v.file_path = ?1 ORDER BY v.id DESC LIMIT 1", self.select_videos());
        let conn = &self.conn;
        conn.prepare_cached(&sql).at(conn)?.query_row([file_path], read).optional().at(conn)
    }

    /// A page of the videos that match a filter, newest first. Pages are numbered from 1; a page past the last is
    /// empty.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a page or page size below 1.
    pub fn videos(&self, filter: VideoFilter, page: i64, page_size: i64) -> Result<Page<Video>> {
        if page < 1 || page_size < 1 {
            return Err(StoreError::BadInput("page and page_size must be at least 1".into()));
        }
        let conn = &self.conn;
        let (condition, mut values) = filter.condition(&self.app);
        let sql = format!("SELECT count(*) FROM videos AS v WHERE {condition}");
        let total: i64 = conn.query_row(&sql, params_from_iter(&values), |row| row.get(0)).at(conn)?;
        let sql = format!("{} WHERE {condition} ORDER BY v.id DESC LIMIT ? OFFSET ?", self.select_videos());
        values.extend([page_size.into(), (page - 1).saturating_mul(page_size).into()]);
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows = statement.query_map(params_from_iter(&values), read).at(conn)?;
        let items = rows.collect::<rusqlite::Result<_>>().at(conn)?;
        Ok(Page { items, total, page, page_size, total_pages: (total + page_size - 1) / page_size })
    }

    fn select_videos(&self) -> String {
        format!(
            "SELECT v.id AS id, v.game_id AS game_id, v.file_path AS file_path, {}, c.n_frames AS n_frames,
                c.size_bytes AS size_bytes, c.modified_ns AS modified_ns, c.sha256 AS sha256, c.stream AS stream
             FROM videos AS v LEFT JOIN courtside_videos AS c ON c.video_id = v.id",
            self.app.videos.select("v", &OPTIONAL)
        )
    }

    /// Changes a video as the app's users do.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] for an unknown game.
    pub fn edit_video(&mut self, id: i64, edit: &VideoEdit) -> Result<()> {
        self.write(|conn| {
            if let Some(game_id) = edit.game_id {
                games::existing(conn, game_id)?;
            }
            if !exists(conn, id)? {
                return Err(StoreError::UnknownVideo(id));
            }
            for (column, value) in edit.values() {
                if self.app.videos.has(column) {
                    let sql = format!("UPDATE videos SET {column} = ?2 WHERE id = ?1");
                    conn.execute(&sql, params![id, value]).at(conn)?;
                }
            }
            Ok(())
        })
    }

    /// Sets the key of the video in the bucket; `None` if the bucket no longer has it. Does nothing in a file of the app
    /// that is older than this column.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`], [`StoreError::BadInput`] for a key of more than 500 characters.
    pub fn set_video_r2_key(&self, id: i64, r2_key: Option<&str>) -> Result<()> {
        if r2_key.is_some_and(|key| key.chars().count() > MAX_PATH_CHARS) {
            return Err(StoreError::BadInput(format!(
                "the bucket key has more than {MAX_PATH_CHARS} characters"
            )));
        }
        if !self.app.videos.has("r2_key") {
            return Ok(());
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
        self.write(|conn| {
            if !exists(conn, id)? {
                return Err(StoreError::UnknownVideo(id));
            }
            register(conn, &self.app, id)?;
            set_fingerprint(conn, id, n_frames, file)
        })
    }

    fn update_video(&self, id: i64, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        let n_changed = self.write(|conn| conn.prepare_cached(sql).at(conn)?.execute(params).at(conn))?;
        if n_changed == 0 { Err(StoreError::UnknownVideo(id)) } else { Ok(()) }
    }
}

/// Whether the library has a video.
pub(crate) fn exists(conn: &Connection, id: i64) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM videos WHERE id = ?1)";
    conn.prepare_cached(sql).at(conn)?.query_row([id], |row| row.get(0)).at(conn)
}

/// Makes sure that courtside has a row for a video, within the transaction of the caller.
pub(crate) fn register(conn: &Connection, app: &AppColumns, id: i64) -> Result<()> {
    let added = app.videos.select("v", &["upload_date"]);
    let sql = format!(
        "INSERT OR IGNORE INTO courtside_videos (video_id, added) SELECT id, upload_date FROM
            (SELECT v.id AS id, {added} FROM videos AS v WHERE v.id = ?1)"
    );
    conn.prepare_cached(&sql).at(conn)?.execute([id]).at(conn)?;
    Ok(())
}

/// Whether the library has the video that was registered under this id, and not another one that got its id since.
pub(crate) fn is_registered(conn: &Connection, app: &AppColumns, id: i64) -> Result<bool> {
    let added = app.videos.select("v", &["upload_date"]);
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM (SELECT v.id AS id, {added} FROM videos AS v WHERE v.id = ?1) AS v
            JOIN courtside_videos AS c ON c.video_id = v.id AND (c.added IS NULL OR v.upload_date IS c.added))"
    );
    conn.prepare_cached(&sql).at(conn)?.query_row([id], |row| row.get(0)).at(conn)
}

fn set_fingerprint(conn: &Connection, id: i64, n_frames: Option<i64>, file: &FileFingerprint) -> Result<()> {
    conn.prepare_cached(
        "UPDATE courtside_videos SET n_frames = ?2, size_bytes = ?3, modified_ns = ?4, sha256 = ?5
         WHERE video_id = ?1",
    )
    .at(conn)?
    .execute(params![id, n_frames, file.size_bytes, file.modified_ns, file.sha256])
    .at(conn)?;
    Ok(())
}

/// Forgets what courtside knows of videos that the app removed: it may give their ids to other videos. Their jobs stay,
/// without a video.
pub(crate) fn forget_removed(library: &Library) -> Result<()> {
    let added = library.app.videos.select("v", &["upload_date"]);
    let removed = format!(
        "SELECT video_id FROM courtside_videos AS c WHERE NOT EXISTS
            (SELECT 1 FROM (SELECT v.id AS id, {added} FROM videos AS v) AS v
             WHERE v.id = c.video_id AND (c.added IS NULL OR v.upload_date IS c.added))"
    );
    let conn = &library.conn;
    let sql = format!("SELECT EXISTS ({removed})");
    if !conn.query_row(&sql, [], |row| row.get::<_, bool>(0)).at(conn)? {
        return Ok(());
    }
    library.write(|conn| {
        for sql in [
            format!("UPDATE courtside_jobs SET video_id = NULL WHERE video_id IN ({removed})"),
            format!("DELETE FROM courtside_imports WHERE video_id IN ({removed})"),
            format!("DELETE FROM courtside_edits WHERE video_id IN ({removed})"),
            format!("DELETE FROM courtside_videos WHERE video_id IN ({removed})"),
        ] {
            conn.execute(&sql, []).at(conn)?;
        }
        Ok(())
    })
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
    let values = Reader::new(row);
    let status = values.parsed("processing_status", ProcessingStatus::from_name);
    Ok(Video {
        id: row.get("id")?,
        game_id: values.get("game_id").unwrap_or_default(),
        file_path: values.get("file_path").unwrap_or_default(),
        r2_key: values.get("r2_key"),
        thumbnail_path: values.get("thumbnail_path"),
        duration_seconds: values.get("duration_seconds"),
        fps: values.get("fps"),
        resolution: values.get("resolution"),
        upload_date: values.time("upload_date"),
        processed: values.get("processed").unwrap_or(false),
        processing_status: status.unwrap_or(ProcessingStatus::Pending),
        recorded_at: values.time("recorded_at"),
        sequence_order: values.get("sequence_order"),
        game_time_offset: values.get("game_time_offset"),
        n_frames: row.get("n_frames")?,
        stream: row.get("stream")?,
        file: FileFingerprint {
            size_bytes: row.get("size_bytes")?,
            modified_ns: row.get("modified_ns")?,
            sha256: row.get("sha256")?,
        },
        unreadable: values.unreadable(),
    })
}
