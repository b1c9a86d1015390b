//! The spool: a run's detections on disk, in the order they were made, as binary records of fixed size in one growing
//! file.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use client::atomic_file::{cannot, folder_of};
use client::export;
use client::failure::{Failure, Kind, Outcome};

/// One detection: a track's box on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpoolRecord {
    /// Source frame, from 0.
    pub frame: u64,
    /// Id of the track, unique within the run.
    pub track_id: u64,
    /// Index of its prompt in the request.
    pub prompt: u32,
    /// Left, top, width, height in source pixels.
    pub bbox: [f32; 4],
    /// Confidence, 0 to 1.
    pub confidence: f32,
}

/// Bytes of a record: frame, track, prompt, box, confidence, all little-endian.
const RECORD_BYTES: usize = 8 + 8 + 4 + 16 + 4;

impl SpoolRecord {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[..8].copy_from_slice(&self.frame.to_le_bytes());
        out[8..16].copy_from_slice(&self.track_id.to_le_bytes());
        out[16..20].copy_from_slice(&self.prompt.to_le_bytes());
        for (i, x) in self.bbox.iter().chain([&self.confidence]).enumerate() {
            out[20 + 4 * i..24 + 4 * i].copy_from_slice(&x.to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Self {
        let u64_at = |i: usize| u64::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
        let f32_at = |i: usize| f32::from_le_bytes(std::array::from_fn(|k| bytes[i + k]));
        Self {
            frame: u64_at(0),
            track_id: u64_at(8),
            prompt: u32::from_le_bytes(std::array::from_fn(|k| bytes[16 + k])),
            bbox: std::array::from_fn(|k| f32_at(20 + 4 * k)),
            confidence: f32_at(36),
        }
    }
}

const START_OVER: &str = "delete the checkpoint to start from the beginning";

/// A run's detections. An unnamed spool is deleted when the process ends.
pub struct Spool {
    /// Its path, or for an unnamed spool the path of the file that is written from it.
    path: PathBuf,
    is_named: bool,
    file: BufWriter<File>,
    n_records: u64,
}

impl Spool {
    /// An unnamed spool in the folder of the file that is written from it.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn unnamed(output: &Path) -> Outcome<Self> {
        let folder = folder_of(output);
        let file = tempfile::tempfile_in(folder).map_err(|e| cannot("write in", folder, e))?;
        Ok(Self { path: output.to_owned(), is_named: false, file: BufWriter::new(file), n_records: 0 })
    }

    /// Opens a named spool and keeps its first `n_records`; with 0, creates it if it does not exist.
    ///
    /// # Errors
    /// If the file has fewer records, or another run uses it.
    pub fn named(path: &Path, n_records: u64) -> Outcome<Self> {
        let failed = |e| cannot("open", path, e);
        let mut options = File::options();
        options.read(true).write(true).truncate(false).create(n_records == 0);
        let mut file = options.open(path).map_err(|error| {
            let lost = n_records > 0 && error.kind() == ErrorKind::NotFound;
            let failure = failed(error);
            if lost { failure.hint(START_OVER) } else { failure }
        })?;
        if file.try_lock().is_err() {
            let message = format!("{} is in use by another run", path.display());
            return Err(
                Failure::msg(Kind::Failed, message).hint("wait for it, stop it, or name another checkpoint")
            );
        }
        let want = n_records * RECORD_BYTES as u64;
        let have = file.metadata().map_err(failed)?.len();
        if have < want {
            let message = format!(
                "{} has only {} of the {n_records} detections of its checkpoint",
                path.display(),
                have / RECORD_BYTES as u64
            );
            return Err(Failure::msg(Kind::Failed, message).hint(START_OVER));
        }
        // Detections from after the checkpoint are made again.
        file.set_len(want).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), is_named: true, file: BufWriter::new(file), n_records })
    }

    /// Length of a spool with `n_records`.
    pub fn size_bytes(n_records: u64) -> u64 {
        n_records * RECORD_BYTES as u64
    }

    /// Number of records, including those that are still buffered.
    pub fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, record: SpoolRecord) -> Outcome<()> {
        self.n_records += 1;
        self.file.write_all(&record.to_bytes()).map_err(|e| self.failed(e))
    }

    /// Makes all records durable.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn sync(&mut self) -> Outcome<()> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        done.map_err(|e| self.failed(e))
    }

    /// Reads all records in order.
    ///
    /// # Errors
    /// If buffered records cannot be written. Items are errors if the file cannot be read.
    pub fn read(&mut self) -> Outcome<impl Iterator<Item = Outcome<SpoolRecord>> + use<>> {
        let start = |spool: &mut Self| {
            spool.file.flush()?;
            let mut file = spool.file.get_ref().try_clone()?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        let file: std::io::Result<File> = start(self);
        let file = file.map_err(|e| self.failed(e))?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let mut left = self.n_records;
        Ok(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let mut bytes = [0; RECORD_BYTES];
            Some(match reader.read_exact(&mut bytes) {
                Ok(()) => Ok(SpoolRecord::from_bytes(&bytes)),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(Failure::msg(
                    Kind::Failed,
                    "the detections on disk were truncated while they were read",
                )),
                Err(e) => Err(e.into()),
            })
        }))
    }

    /// Reads all records in order, as the export formats take them.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn exported(&mut self) -> Outcome<impl Iterator<Item = Outcome<export::ExportDetection>> + use<>> {
        let exported = |d: SpoolRecord| export::ExportDetection {
            frame: d.frame as i64,
            track_id: d.track_id as i64,
            prompt: d.prompt,
            bbox: d.bbox.map(f64::from),
            confidence: f64::from(d.confidence),
        };
        Ok(self.read()?.map(move |record| record.map(exported)))
    }

    /// Deletes the file of a named spool.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub fn remove(self) -> Outcome<()> {
        if !self.is_named {
            return Ok(());
        }
        std::fs::remove_file(&self.path).map_err(|e| cannot("remove", &self.path, e))
    }

    fn failed(&self, error: std::io::Error) -> Failure {
        let action = if self.is_named { "write" } else { "write detections next to" };
        cannot(action, &self.path, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(frame: u64) -> SpoolRecord {
        SpoolRecord { frame, track_id: 7, prompt: 1, bbox: [1.5, -2.0, 3.0, 4.25], confidence: 0.875 }
    }

    #[test]
    fn records_are_read_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::unnamed(&folder.path().join("out.json")).unwrap();
        (0..3).for_each(|t| spool.push(record(t)).unwrap());
        for _ in 0..2 {
            let read: Vec<_> = spool.read().unwrap().map(Result::unwrap).collect();
            assert_eq!(read, [record(0), record(1), record(2)]);
        }
    }

    #[test]
    fn records_after_the_checkpoint_are_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::named(&path, 0).unwrap();
        (0..5).for_each(|t| spool.push(record(t)).unwrap());
        spool.sync().unwrap();
        drop(spool);
        let mut spool = Spool::named(&path, 2).unwrap();
        spool.push(record(9)).unwrap();
        let frames: Vec<u64> = spool.read().unwrap().map(|d| d.unwrap().frame).collect();
        assert_eq!(frames, [0, 1, 9]);
        drop(spool);
        assert!(Spool::named(&path, 100).is_err());
    }
}
