//! Test helpers: a library in a temporary folder, short imports, dumps of a database.

use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value;
use store::{ImportJob, ImportReport, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};
use tempfile::TempDir;

/// A temporary folder with a path for a database in it.
pub(crate) struct TestDb {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl TestDb {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("library.db");
        Self { folder, path }
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:///{}", self.path.display())
    }

    pub(crate) fn library(&self) -> Library {
        Library::open(&self.url()).unwrap()
    }

    /// A plain SQLite connection, as another program opens it.
    pub(crate) fn plain(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// The statement and rows of every table.
    pub(crate) fn dump(&self) -> Vec<String> {
        dump(&self.plain())
    }
}

/// The statement and rows of every table.
pub(crate) fn dump(conn: &Connection) -> Vec<String> {
    let tables: Vec<(String, String)> =
        rows(conn, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")
            .into_iter()
            .map(|row| (text(&row[0]), text(&row[1])))
            .collect();
    let mut dump = Vec::new();
    for (name, sql) in tables {
        dump.push(sql);
        dump.extend(
            rows(conn, &format!("SELECT * FROM {name}")).iter().map(|row| format!("{name}: {row:?}")),
        );
    }
    dump
}

/// All rows that a query returns.
pub(crate) fn rows(conn: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = conn.prepare(sql).unwrap();
    let n_columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..n_columns).map(|column| row.get(column)).collect()).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// A value as text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Blob(_) => "blob".into(),
    }
}

/// A detection whose box depends on its frame and track.
pub(crate) fn detection(frame: i64, track_id: i64) -> StoredDetection {
    let [f, t] = [frame as f64, track_id as f64];
    StoredDetection { frame, track_id, bbox: [f + 0.25, t + 0.5, 10.0, 20.75], confidence: 0.5 }
}

/// Detections of two tracks on each of `n_frames` frames.
pub(crate) fn two_tracks(n_frames: i64) -> Vec<StoredDetection> {
    (0..n_frames).flat_map(|frame| [detection(frame, 1), detection(frame, 2)]).collect()
}

/// Adds a video with this file name and returns its id.
pub(crate) fn add(library: &mut Library, name: &str) -> i64 {
    library.add_video(&NewVideo::at(name)).unwrap().id
}

/// Imports detections, pushing 37 at a time.
pub(crate) fn import(
    library: &mut Library,
    job_id: &str,
    video_id: i64,
    sha256: &str,
    detections: &[StoredDetection],
) -> Result<ImportReport, StoreError> {
    library.import(&ImportJob::new(job_id, video_id, sha256), |writer| {
        for batch in detections.chunks(37) {
            writer.push(batch)?;
        }
        Ok(ResultsSummary { frames_processed: Some(1000), completed_at: None })
    })
}
