//! The detections of an import, checked and kept in a temporary file until they are written to the database.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::detections::StoredDetection;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::tracks::TrackSummary;

/// Size of a detection in the file: seven values of 8 bytes.
const RECORD_BYTES: usize = 56;
const BUFFER_BYTES: usize = 1 << 18;

/// Takes the detections of an import. After an error it rejects all further detections, and nothing is imported.
pub struct DetectionWriter {
    file: BufWriter<File>,
    /// The database, for messages.
    path: PathBuf,
    n_pushed: u64,
    /// Frame and track of the last detection.
    last: Option<(i64, i64)>,
    /// Whether each detection comes after the one before, by frame and then by track: then no track is twice on a frame.
    is_ordered: bool,
    failed: bool,
    tracks: BTreeMap<i64, TrackSummary>,
    n_frames: i64,
}

impl fmt::Debug for DetectionWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectionWriter")
            .field("n_pushed", &self.n_pushed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl DetectionWriter {
    /// Creates a writer with a temporary file in the folder of the database, where the space is needed anyway.
    pub(super) fn new(database: &Path) -> Result<Self> {
        let folder = database.parent().unwrap_or(Path::new("."));
        let file = tempfile::tempfile_in(folder).map_err(|error| failed(database, &error))?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path: database.to_owned(),
            n_pushed: 0,
            last: None,
            is_ordered: true,
            failed: false,
            tracks: BTreeMap::new(),
            n_frames: 0,
        })
    }

    /// Adds detections, in any order. Slices of a few hundred are the most efficient.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for an invalid detection, with its 0-based position among all detections
    /// pushed so far; [`StoreError::Full`].
    pub fn push(&mut self, detections: &[StoredDetection]) -> Result<()> {
        self.refuse_after_failure()?;
        let result = detections.iter().try_for_each(|detection| self.push_one(detection));
        self.failed = result.is_err();
        result
    }

    fn push_one(&mut self, detection: &StoredDetection) -> Result<()> {
        let StoredDetection { frame, track_id, .. } = *detection;
        check(detection).map_err(|what| {
            let n = self.n_pushed;
            StoreError::BadInput(format!("detection {n} (frame {frame}, track {track_id}): {what}"))
        })?;
        self.is_ordered &= self.last < Some((frame, track_id));
        self.n_frames += i64::from(self.last.is_none_or(|(last, _)| last != frame));
        self.last = Some((frame, track_id));
        self.tracks.entry(track_id).or_insert_with(|| TrackSummary::new(track_id, frame)).add(detection);
        self.n_pushed += 1;
        self.file.write_all(&to_bytes(detection)).map_err(|error| failed(&self.path, &error))
    }

    /// Ends the writing.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] if a track is twice on a frame.
    pub(super) fn finish(self, conn: &Connection) -> Result<Staged> {
        self.refuse_after_failure()?;
        let Self { path, n_pushed, is_ordered, n_frames, .. } = self;
        let file = self.file.into_inner().map_err(|error| failed(&path, error.error()))?;
        let tracks = self.tracks.into_values().map(TrackSummary::finish).collect();
        let mut staged = Staged { file, path, n: n_pushed, is_ordered, n_frames, tracks };
        if !is_ordered {
            staged.n_frames = check_unique(conn, &staged)?;
        }
        Ok(staged)
    }

    fn refuse_after_failure(&self) -> Result<()> {
        if self.failed {
            return Err(StoreError::Conflict(
                "this import has already failed; none of its detections are stored".into(),
            ));
        }
        Ok(())
    }
}

/// All detections of an import.
pub(super) struct Staged {
    file: File,
    path: PathBuf,
    /// Number of detections.
    pub(super) n: u64,
    /// Whether they are ordered by frame, then by track.
    pub(super) is_ordered: bool,
    /// Number of frames with detections.
    pub(super) n_frames: i64,
    pub(super) tracks: Vec<TrackSummary>,
}

impl Staged {
    /// Reads the detections from the first one on.
    pub(super) fn read(&self) -> Result<StagedReader<'_>> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(|error| failed(&self.path, &error))?;
        let input = BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(StagedReader { input, path: &self.path, n_left: self.n })
    }
}

/// Reads detections in the order in which they were pushed.
pub(super) struct StagedReader<'a> {
    input: BufReader<&'a File>,
    path: &'a Path,
    pub(super) n_left: u64,
}

impl Iterator for StagedReader<'_> {
    type Item = Result<StoredDetection>;

    fn next(&mut self) -> Option<Self::Item> {
        self.n_left = self.n_left.checked_sub(1)?;
        let mut bytes = [0; RECORD_BYTES];
        let read = self.input.read_exact(&mut bytes);
        Some(read.map(|()| from_bytes(&bytes)).map_err(|error| failed(self.path, &error)))
    }
}

fn to_bytes(detection: &StoredDetection) -> [u8; RECORD_BYTES] {
    let [x, y, width, height] = detection.bbox.map(f64::to_bits);
    let values = [
        detection.frame as u64,
        detection.track_id as u64,
        x,
        y,
        width,
        height,
        detection.confidence.to_bits(),
    ];
    let mut bytes = [0; RECORD_BYTES];
    for (place, value) in bytes.chunks_exact_mut(8).zip(values) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> StoredDetection {
    let mut values = [0; RECORD_BYTES / 8];
    for (value, place) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = u64::from_le_bytes(*place);
    }
    let [frame, track_id, x, y, width, height, confidence] = values;
    StoredDetection {
        frame: frame as i64,
        track_id: track_id as i64,
        bbox: [x, y, width, height].map(f64::from_bits),
        confidence: f64::from_bits(confidence),
    }
}

fn failed(database: &Path, error: &std::io::Error) -> StoreError {
    let path = database.to_owned();
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Open { path, detail: format!("a temporary file in its folder failed: {error}") },
    }
}

/// Checks that no track is twice on a frame, among detections whose order does not show it. SQLite sorts them in a
/// temporary file. Returns the number of frames with detections.
fn check_unique(conn: &Connection, staged: &Staged) -> Result<i64> {
    conn.execute_batch(
        "DROP TABLE IF EXISTS temp.courtside_keys;
         CREATE TEMP TABLE courtside_keys (frame INTEGER, track INTEGER, PRIMARY KEY (frame, track)) WITHOUT ROWID;
         BEGIN",
    )
    .at(conn)?;
    let n_frames = insert_keys(conn, staged).and_then(|()| {
        conn.query_row("SELECT count(DISTINCT frame) FROM temp.courtside_keys", [], |row| row.get(0)).at(conn)
    });
    conn.execute_batch("ROLLBACK; DROP TABLE IF EXISTS temp.courtside_keys").at(conn)?;
    n_frames
}

fn insert_keys(conn: &Connection, staged: &Staged) -> Result<()> {
    let mut insert = conn.prepare("INSERT OR IGNORE INTO temp.courtside_keys VALUES (?1, ?2)").at(conn)?;
    for detection in staged.read()? {
        let StoredDetection { frame, track_id, .. } = detection?;
        if insert.execute([frame, track_id]).at(conn)? == 0 {
            return Err(StoreError::BadInput(format!("track {track_id} is twice on frame {frame}")));
        }
    }
    Ok(())
}

/// Checks that a detection is valid; the error says why it is not.
fn check(detection: &StoredDetection) -> std::result::Result<(), String> {
    let StoredDetection { frame, bbox, confidence, .. } = *detection;
    let [_, _, width, height] = bbox;
    if frame < 0 {
        return Err("the frame is negative".into());
    }
    if !bbox.iter().all(|value| value.is_finite()) {
        return Err(format!("the box {bbox:?} has values that are not finite"));
    }
    if width < 0.0 || height < 0.0 {
        return Err(format!("the box is {width} x {height}"));
    }
    if !(0.0..=1.0).contains(&confidence) {
        return Err(format!("the confidence is {confidence}, not 0 to 1"));
    }
    Ok(())
}
