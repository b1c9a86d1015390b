//! The tables as data: what the analyzer app's database has, and what is ours beside it.
//!
//! Types and spellings are those that SQLAlchemy uses on SQLite, so that a database of ours looks
//! like one of the app's. The way from a file to this shape is in [`migrate`].

mod migrate;

pub(crate) use migrate::migrate;

/// Version of our own additions, kept in `courtside_schema`. A file with a higher one is refused.
pub(crate) const VERSION: i64 = 1;

/// A table and its columns.
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns, in the order of a new table.
    pub(crate) columns: &'static [Column],
    /// Indexes made along with a new table; never added to a table of the app.
    pub(crate) indexes: &'static [&'static str],
}

/// A column.
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its type.
    kind: &'static str,
    /// What a new table demands of it.
    rule: &'static str,
    /// Whether a table that lacks it is not the table we mean. Others are added, and may be null.
    essential: bool,
}

const fn essential(name: &'static str, kind: &'static str, rule: &'static str) -> Column {
    Column { name, kind, rule, essential: true }
}

const fn column(name: &'static str, kind: &'static str, rule: &'static str) -> Column {
    Column { name, kind, rule, essential: false }
}

const NEEDED: &str = "NOT NULL";
const NULL: &str = "";

/// Every table, parents first.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "games",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("name", "VARCHAR(255)", NEEDED),
            column("date", "DATETIME", NEEDED),
            column("location", "VARCHAR(255)", NULL),
            column("home_team", "VARCHAR(255)", NEEDED),
            column("away_team", "VARCHAR(255)", NEEDED),
            column("created_at", "DATETIME", NEEDED),
            column("updated_at", "DATETIME", NEEDED),
        ],
        indexes: &[],
    },
    Table {
        name: "videos",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("game_id", "INTEGER", "NOT NULL REFERENCES games (id)"),
            essential("file_path", "VARCHAR(500)", NEEDED),
            column("r2_key", "VARCHAR(500)", NULL),
            column("thumbnail_path", "VARCHAR(500)", NULL),
            column("duration_seconds", "FLOAT", NULL),
            column("fps", "FLOAT", NULL),
            column("resolution", "VARCHAR(20)", NULL),
            column("upload_date", "DATETIME", NEEDED),
            column("processed", "BOOLEAN", NEEDED),
            column("processing_status", "VARCHAR(10)", NEEDED),
            column("recorded_at", "DATETIME", NULL),
            column("sequence_order", "INTEGER", NULL),
            column("game_time_offset", "FLOAT", NULL),
            // Ours alone from here on.
            column("n_frames", "INTEGER", NULL),
            column("size_bytes", "INTEGER", NULL),
            column("modified_ns", "INTEGER", NULL),
            column("sha256", "VARCHAR(64)", NULL),
        ],
        indexes: &[],
    },
    Table {
        name: "player_detections",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("video_id", "INTEGER", "NOT NULL REFERENCES videos (id)"),
            essential("frame_number", "INTEGER", NEEDED),
            column("player_id", "INTEGER", NULL),
            essential("bbox_x", "FLOAT", NEEDED),
            essential("bbox_y", "FLOAT", NEEDED),
            essential("bbox_width", "FLOAT", NEEDED),
            essential("bbox_height", "FLOAT", NEEDED),
            essential("tracking_id", "INTEGER", NEEDED),
            essential("confidence_score", "FLOAT", NEEDED),
            // Ours: the number of the import that brought the row, null for the app's own rows. The
            // job's id itself would make the file half as large again.
            column("import_id", "INTEGER", NULL),
        ],
        indexes: &[
            "CREATE INDEX ix_player_detections_video_frame ON player_detections (video_id, frame_number)",
            "CREATE INDEX ix_player_detections_tracking_id ON player_detections (tracking_id)",
        ],
    },
    Table {
        name: "processing_jobs",
        columns: &[
            essential("id", "VARCHAR(36)", "NOT NULL PRIMARY KEY"),
            essential("job_type", "VARCHAR(15)", NEEDED),
            essential("status", "VARCHAR(10)", NEEDED),
            column("video_id", "INTEGER", "REFERENCES videos (id)"),
            column("parameters", "JSON", NULL),
            column("progress_current", "INTEGER", NEEDED),
            column("progress_total", "INTEGER", NEEDED),
            column("progress_message", "VARCHAR(500)", NULL),
            column("result", "JSON", NULL),
            column("error_message", "TEXT", NULL),
            column("created_at", "DATETIME", NEEDED),
            column("started_at", "DATETIME", NULL),
            column("completed_at", "DATETIME", NULL),
            column("worker_id", "VARCHAR(255)", NULL),
            // Ours alone from here on.
            column("target", "VARCHAR(10)", NULL),
            column("r2_video_key", "VARCHAR(500)", NULL),
        ],
        indexes: &["CREATE INDEX ix_processing_jobs_video_id ON processing_jobs (video_id)"],
    },
    Table {
        name: "courtside_imports",
        columns: &[
            // AUTOINCREMENT: a number is never given twice, so no row is ever taken for another import's.
            essential("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT"),
            essential("job_id", "TEXT", "NOT NULL UNIQUE"),
            // CASCADE: the app may delete a video without knowing this table.
            essential("video_id", "INTEGER", "NOT NULL REFERENCES videos (id) ON DELETE CASCADE"),
            essential("sha256", "TEXT", NEEDED),
            essential("n_detections", "INTEGER", NEEDED),
            column("frames_processed", "INTEGER", NULL),
            column("first_detection_id", "INTEGER", NULL),
            column("last_detection_id", "INTEGER", NULL),
            essential("imported_at", "DATETIME", NEEDED),
        ],
        indexes: &["CREATE INDEX courtside_imports_video ON courtside_imports (video_id)"],
    },
    Table {
        name: "courtside_settings",
        columns: &[essential("name", "TEXT", "PRIMARY KEY"), essential("value", "TEXT", NEEDED)],
        indexes: &[],
    },
    Table { name: "courtside_schema", columns: &[essential("version", "INTEGER", NEEDED)], indexes: &[] },
];
