//! The tables as data: those of the analyzer app's database, and courtside's own.
//!
//! Types and spellings are those that SQLAlchemy uses on SQLite, so that a new database looks like
//! one of the app's.

/// Version of courtside's own tables, stored in `courtside_schema`. Files with a higher version are
/// rejected.
pub(crate) const VERSION: i64 = 3;

/// The table with the version, which every file has that courtside has written to.
pub(crate) const SCHEMA: &str = "courtside_schema";

/// A table and its columns.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns, in the order of a new table.
    pub(crate) columns: &'static [Column],
    /// Constraints of the whole table, each with a leading comma, and what follows the closing parenthesis.
    pub(crate) suffix: &'static str,
    /// Statements that run after a new table is created: its indexes.
    pub(crate) on_create: &'static [&'static str],
}

impl Table {
    /// The statement that creates the table in a schema of the connection, such as `main`.
    pub(crate) fn create(&self, schema: &str) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {} {}", column.name, column.kind, column.rule).trim_end().to_owned())
            .collect();
        format!("CREATE TABLE {schema}.{} (\n    {}\n{}", self.name, columns.join(",\n    "), self.suffix)
    }
}

/// A column of a [`Table`].
pub(crate) struct Column {
    pub(crate) name: &'static str,
    /// The SQL type, as SQLAlchemy spells it.
    pub(crate) kind: &'static str,
    /// Constraints in a new table. A column that is added later has none.
    pub(crate) rule: &'static str,
    /// Whether a table without this column is rejected.
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
const END: &str = ")";

/// The app's tables, which courtside creates in a new file only. A table comes after those that it refers to.
pub(crate) const APP_TABLES: &[Table] = &[
    Table {
        name: "games",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("name", "VARCHAR(255)", NOT_NULL),
            column("date", "DATE", NOT_NULL),
            column("location", "VARCHAR(255)", NULLABLE),
            column("home_team", "VARCHAR(255)", NOT_NULL),
            column("away_team", "VARCHAR(255)", NOT_NULL),
            column("created_at", "DATETIME", NOT_NULL),
            column("updated_at", "DATETIME", NOT_NULL),
        ],
        suffix: END,
        on_create: &[],
    },
    Table {
        name: "videos",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("game_id", "INTEGER", "NOT NULL REFERENCES games (id) ON DELETE CASCADE"),
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
        ],
        suffix: END,
        on_create: &[],
    },
    Table {
        name: "player_detections",
        columns: &[
            essential("id", "INTEGER", "NOT NULL PRIMARY KEY"),
            essential("video_id", "INTEGER", "NOT NULL REFERENCES videos (id) ON DELETE CASCADE"),
            essential("frame_number", "INTEGER", NOT_NULL),
            column("player_id", "INTEGER", NULLABLE),
            essential("bbox_x", "FLOAT", NOT_NULL),
            essential("bbox_y", "FLOAT", NOT_NULL),
            essential("bbox_width", "FLOAT", NOT_NULL),
            essential("bbox_height", "FLOAT", NOT_NULL),
            essential("tracking_id", "INTEGER", NOT_NULL),
            essential("confidence_score", "FLOAT", NOT_NULL),
        ],
        suffix: END,
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
            column("video_id", "INTEGER", "REFERENCES videos (id) ON DELETE CASCADE"),
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
            // Only in files that courtside created.
            column("target", "VARCHAR(10)", NULLABLE),
            column("r2_video_key", "VARCHAR(500)", NULLABLE),
        ],
        suffix: END,
        on_create: &["CREATE INDEX ix_processing_jobs_video_id ON processing_jobs (video_id)"],
    },
];

/// The app's tables without which there is no library. The app's first migrations do not create `processing_jobs`.
pub(crate) const REQUIRED: [&str; 3] = ["games", "videos", "player_detections"];

/// Courtside's own tables. None refers to a table of the app: its migrations recreate them.
pub(crate) const OWN_TABLES: &[Table] = &[
    // What courtside knows of a video besides the app's columns.
    Table {
        name: "courtside_videos",
        columns: &[
            essential("video_id", "INTEGER", "PRIMARY KEY"),
            // Its `upload_date`, which shows whether the id was given to another video since.
            essential("added", "TEXT", NULLABLE),
            column("n_frames", "INTEGER", NULLABLE),
            column("size_bytes", "INTEGER", NULLABLE),
            column("modified_ns", "INTEGER", NULLABLE),
            column("sha256", "TEXT", NULLABLE),
            // The video stream that was chosen; null for the one that players show.
            column("stream", "INTEGER", NULLABLE),
            // The game that was made for it; null if it was added to a game.
            column("made_game", "INTEGER", NULLABLE),
        ],
        suffix: END,
        on_create: &[],
    },
    // The jobs that courtside submitted or imported.
    Table {
        name: "courtside_jobs",
        columns: &[
            essential("id", "TEXT", "PRIMARY KEY"),
            column("submission", "TEXT", NULLABLE),
            column("job_type", "TEXT", NULLABLE),
            column("status", "TEXT", NULLABLE),
            column("video_id", "INTEGER", NULLABLE),
            column("parameters", "JSON", NULLABLE),
            column("progress_current", "INTEGER", NULLABLE),
            column("progress_total", "INTEGER", NULLABLE),
            column("progress_message", "TEXT", NULLABLE),
            column("result", "JSON", NULLABLE),
            column("error_message", "TEXT", NULLABLE),
            column("created_at", "DATETIME", NULLABLE),
            column("started_at", "DATETIME", NULLABLE),
            column("completed_at", "DATETIME", NULLABLE),
            column("worker_id", "TEXT", NULLABLE),
            column("target", "TEXT", NULLABLE),
            column("r2_video_key", "TEXT", NULLABLE),
            // The status of its row in `processing_jobs`, as courtside wrote it; null without such a row.
            column("published", "TEXT", NULLABLE),
        ],
        suffix: END,
        on_create: &[],
    },
    // Imports that are complete.
    Table {
        name: "courtside_imports",
        columns: &[
            essential("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT"),
            essential("job_id", "TEXT", "NOT NULL UNIQUE"),
            essential("video_id", "INTEGER", NOT_NULL),
            essential("sha256", "TEXT", NOT_NULL),
            essential("n_detections", "INTEGER", NOT_NULL),
            column("frames_processed", "INTEGER", NULLABLE),
            essential("imported_at", "DATETIME", NOT_NULL),
            // The write that inserted its detections.
            column("write_id", "INTEGER", NULLABLE),
            // The stored totals and tracks are those of this many rows with this checksum; see `writes/ranges.rs`. Null
            // until they are stored.
            column("n_rows", "INTEGER", NULLABLE),
            column("checksum", "INTEGER", NULLABLE),
            column("n_frames_with_detections", "INTEGER", NULLABLE),
        ],
        suffix: END,
        on_create: &["CREATE INDEX courtside_imports_video ON courtside_imports (video_id)"],
    },
    // Sets of detections that were inserted, or are being inserted, in several transactions. One that no import names
    // is not visible, and is removed when its writer is dead.
    Table {
        name: "courtside_writes",
        columns: &[
            // AUTOINCREMENT: an id is never reused, so a writer that was taken for dead notices it.
            essential("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT"),
            essential("job_id", "TEXT", NOT_NULL),
            essential("video_id", "INTEGER", NOT_NULL),
            // Seconds since 1970 of its latest transaction.
            essential("alive_at", "INTEGER", NOT_NULL),
        ],
        suffix: END,
        on_create: &[],
    },
    // Which rows of `player_detections` a write inserted.
    Table {
        name: "courtside_ranges",
        columns: &[
            essential("write_id", "INTEGER", NOT_NULL),
            essential("first_id", "INTEGER", NOT_NULL),
            essential("last_id", "INTEGER", NOT_NULL),
            // The content of the first and of the last row, which shows whether the app deleted the rows and reused
            // their ids.
            essential("first_frame", "INTEGER", NOT_NULL),
            essential("first_x", "FLOAT", NOT_NULL),
            essential("first_y", "FLOAT", NOT_NULL),
            column("last_frame", "INTEGER", NULLABLE),
            column("last_x", "FLOAT", NULLABLE),
            column("last_y", "FLOAT", NULLABLE),
        ],
        suffix: ", PRIMARY KEY (write_id, first_id)) WITHOUT ROWID",
        on_create: &[],
    },
    // The tracks of each write.
    Table {
        name: "courtside_write_tracks",
        columns: &[
            essential("write_id", "INTEGER", NOT_NULL),
            essential("track_id", "INTEGER", NOT_NULL),
            essential("n_detections", "INTEGER", NOT_NULL),
            essential("first_frame", "INTEGER", NOT_NULL),
            essential("last_frame", "INTEGER", NOT_NULL),
            essential("mean_confidence", "FLOAT", NOT_NULL),
        ],
        suffix: ", PRIMARY KEY (write_id, track_id)) WITHOUT ROWID",
        on_create: &[],
    },
    // Corrections of tracks.
    Table {
        name: "courtside_edits",
        columns: &[
            // AUTOINCREMENT: ids order the edits, also after some were dropped.
            essential("id", "INTEGER", "PRIMARY KEY AUTOINCREMENT"),
            essential("video_id", "INTEGER", NOT_NULL),
            // The job whose detections they correct; empty for those of other programs.
            essential("job_id", "TEXT", NOT_NULL),
            essential("edit", "JSON", NOT_NULL),
            column("made_at", "DATETIME", NULLABLE),
            essential("is_undone", "BOOLEAN", NOT_NULL),
        ],
        suffix: END,
        on_create: &["CREATE INDEX courtside_edits_video ON courtside_edits (video_id, job_id)"],
    },
    Table {
        name: "courtside_settings",
        columns: &[essential("name", "TEXT", "PRIMARY KEY"), essential("value", "TEXT", NOT_NULL)],
        suffix: END,
        on_create: &[],
    },
    Table {
        name: SCHEMA,
        columns: &[essential("version", "INTEGER", NOT_NULL)],
        suffix: END,
        on_create: &[],
    },
];
