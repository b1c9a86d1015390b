//! What the tests share: a library in a folder of its own, imports in a line, dumps to compare.

use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::Value;
use store::{Detection, ImportJob, ImportReport, Library, NewVideo, Produced, StoreError};
use tempfile::TempDir;

/// A folder with the path of a database in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Place {
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

    /// A connection that knows nothing of us.
    pub(crate) fn plain(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// Every row of every table.
    pub(crate) fn dump(&self) -> Vec<String> {
        dump(&self.plain())
    }
}

/// Every table's statement and rows.
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

/// All rows of a query.
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

/// A detection that differs from others by its frame and track.
pub(crate) fn detection(frame: i64, track_id: i64) -> Detection {
    let [f, t] = [frame as f64, track_id as f64];
    Detection { frame, track_id, bbox: [f + 0.25, t + 0.5, 10.0, 20.75], confidence: 0.5 }
}

/// So many frames with two tracks each.
pub(crate) fn two_tracks(n_frames: i64) -> Vec<Detection> {
    (0..n_frames).flat_map(|frame| [detection(frame, 1), detection(frame, 2)]).collect()
}

/// Adds a video of this name.
pub(crate) fn add(library: &mut Library, name: &str) -> i64 {
    library.add_video(&NewVideo::at(name)).unwrap().id
}

/// Imports these, in batches of an odd size.
pub(crate) fn import(
    library: &mut Library,
    job_id: &str,
    video_id: i64,
    sha256: &str,
    detections: &[Detection],
) -> Result<ImportReport, StoreError> {
    library.import(&ImportJob::new(job_id, video_id, sha256), |sink| {
        for batch in detections.chunks(37) {
            sink.push(batch)?;
        }
        Ok(Produced { frames_processed: Some(1000), completed_at: None })
    })
}
