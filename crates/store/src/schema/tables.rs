//! The tables as data: those of the analyzer app's database, and courtside's own.
//!
//! Types and spellings are those that SQLAlchemy uses on SQLite, so that a new database looks like
//! one of the app's.

/// Version of courtside's additions, stored in `courtside_schema`. Files with a higher version are
/// rejected.
pub(crate) const VERSION: i64 = 1;

/// A table and its columns.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns, in the order of a new table.
    pub(crate) columns: &'static [Column],
    /// Statements that run after a new table is created: its indexes and initial rows. They never run
    /// for a table that the app created.
    pub(crate) on_create: &'static [&'static str],
}

/// A column of a [`Table`].
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// The SQL type, as SQLAlchemy spells it.
    pub(crate) kind: &'static str,
    /// Constraints in a new table. A column that is added later has none.
    pub(crate) rule: &'static str,
    /// Whether a table without this column is rejected. Other missing columns are added as nullable.
    pub(crate) essential: bool,
}

const fn essential(name: &'static str, kind: &'static str, rule: &'static str) -> Column {
    Column { name, kind, rule, essential: true }
}

const fn column(name: &'static str, kind: &'static str, rule: &'static str) -> Column {
    Column { name, kind, rule, essential: false }
}

const NOT_NULL: &str = "NOT NULL";
const NULLABLE: &str = "";

/// Fills a new `courtside_jobs` table with the unfinished submissions of an older version, which
/// recognized them by their message.
const UNFINISHED_SUBMISSIONS: &str = "INSERT INTO courtside_jobs (id, submission)
    SELECT id, CASE status WHEN 'PENDING' THEN 'uploading' ELSE 'upload_failed' END FROM processing_jobs
    WHERE target IS NOT NULL
        AND ((status = 'PENDING' AND progress_message = 'uploading')
            OR (status = 'FAILED' AND progress_message = 'the upload failed'))";

/// All tables; a table comes after those that it refers to.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "games",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("name", "VARCHAR(255)", NOT_NULL),
            column("date", "DATETIME", NOT_NULL),
            column("location", "VARCHAR(255)", NULLABLE),
            column("home_team", "VARCHAR(255)", NOT_NULL),
            column("away_team", "VARCHAR(255)", NOT_NULL),
            column("created_at", "DATETIME", NOT_NULL),
            column("updated_at", "DATETIME", NOT_NULL),
        ],
        on_create: &[],
    },
    Table {
        name: "videos",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("game_id", "INTEGER", "NOT NULL REFERENCES games (id)"),
            essential("file_path", "VARCHAR(500)", NOT_NULL),
            column("r2_key", "VARCHAR(500)", NULLABLE),
            column("thumbnail_path", "VARCHAR(500)", NULLABLE),
            column("duration_seconds", "FLOAT", NULLABLE),
            column("fps", "FLOAT", NULLABLE),
            column("resolution", "VARCHAR(20)", NULLABLE),
            column("upload_date", "DATETIME", NOT_NULL),
            column("processed", "BOOLEAN", NOT_NULL),
            column("processing_status", "VARCHAR(10)", NOT_NULL),
            column("recorded_at", "DATETIME", NULLABLE),
            column("sequence_order", "INTEGER", NULLABLE),
            column("game_time_offset", "FLOAT", NULLABLE),
            // Added by courtside.
            column("n_frames", "INTEGER", NULLABLE),
            column("size_bytes", "INTEGER", NULLABLE),
            column("modified_ns", "INTEGER", NULLABLE),
            column("sha256", "VARCHAR(64)", NULLABLE),
        ],
        on_create: &[],
    },
    Table {
        name: "player_detections",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("video_id", "INTEGER", "NOT NULL REFERENCES videos (id)"),
            essential("frame_number", "INTEGER", NOT_NULL),
            column("player_id", "INTEGER", NULLABLE),
            essential("bbox_x", "FLOAT", NOT_NULL),
            essential("bbox_y", "FLOAT", NOT_NULL),
            essential("bbox_width", "FLOAT", NOT_NULL),
            essential("bbox_height", "FLOAT", NOT_NULL),
            essential("tracking_id", "INTEGER", NOT_NULL),
            essential("confidence_score", "FLOAT", NOT_NULL),
            // Added by courtside: the id of the import that created the row, null for the app's rows.
            // Storing the job id instead would make the file half as large again.
            column("import_id", "INTEGER", NULLABLE),
        ],
        on_create: &[
            "CREATE INDEX ix_player_detections_video_frame ON player_detections (video_id, frame_number)",
            "CREATE INDEX ix_player_detections_tracking_id ON player_detections (tracking_id)",
        ],
    },
    Table {
        name: "processing_jobs",
        columns: &[
            essential("id", "VARCHAR(36)", "NOT NULL PRIMARY KEY"),
            essential("job_type", "VARCHAR(15)", NOT_NULL),
            essential("status", "VARCHAR(10)", NOT_NULL),
            column("video_id", "INTEGER", "REFERENCES videos (id)"),
            column("parameters", "JSON", NULLABLE),
            column("progress_current", "INTEGER", NOT_NULL),
            column("progress_total", "INTEGER", NOT_NULL),
            column("progress_message", "VARCHAR(500)", NULLABLE),
            column("result", "JSON", NULLABLE),
            column("error_message", "TEXT", NULLABLE),
            column("created_at", "DATETIME", NOT_NULL),
            column("started_at", "DATETIME", NULLABLE),
            column("completed_at", "DATETIME", NULLABLE),
            column("worker_id", "VARCHAR(255)", NULLABLE),
            // Added by courtside.
            column("target", "VARCHAR(10)", NULLABLE),
            column("r2_video_key", "VARCHAR(500)", NULLABLE),
        ],
        on_create: &["CREATE INDEX ix_processing_jobs_video_id ON processing_jobs (video_id)"],
    },
    Table {
        name: "courtside_imports",
        columns: &[
            // AUTOINCREMENT: ids are never reused, so rows of different imports cannot be confused.
            essential("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT"),
            essential("job_id", "TEXT", "NOT NULL UNIQUE"),
            // CASCADE: the app can delete a video without knowing about this table.
            essential("video_id", "INTEGER", "NOT NULL REFERENCES videos (id) ON DELETE CASCADE"),
            essential("sha256", "TEXT", NOT_NULL),
            essential("n_detections", "INTEGER", NOT_NULL),
            column("frames_processed", "INTEGER", NULLABLE),
            column("first_detection_id", "INTEGER", NULLABLE),
            column("last_detection_id", "INTEGER", NULLABLE),
            essential("imported_at", "DATETIME", NOT_NULL),
        ],
        on_create: &["CREATE INDEX courtside_imports_video ON courtside_imports (video_id)"],
    },
    Table {
        name: "courtside_settings",
        columns: &[essential("name", "TEXT", "PRIMARY KEY"), essential("value", "TEXT", NOT_NULL)],
        on_create: &[],
    },
    Table {
        name: "courtside_jobs",
        columns: &[essential("id", "TEXT", "PRIMARY KEY"), column("submission", "TEXT", NULLABLE)],
        on_create: &[UNFINISHED_SUBMISSIONS],
    },
    Table { name: "courtside_schema", columns: &[essential("version", "INTEGER", NOT_NULL)], on_create: &[] },
];
