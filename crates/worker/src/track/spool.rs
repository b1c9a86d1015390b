//! The spool: a run's detections on disk, in the order they were made, as binary records of fixed size in one growing
//! file.
//!
//! What is on disk is compared with what was written whenever it is read: the spool keeps a digest of each block of
//! records, and no record of a block is returned before the block has its digest. A file that was truncated or changed
//! under a running process, or by a disk that loses writes, is therefore an error ([`DamagedSpool`]), never a gap.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use client::atomic_file::{cannot, folder_of};
use client::export;
use client::failure::{Failure, Kind, Outcome};

use super::spool_digest::{BLOCK_RECORDS, Ledger, SpoolDigests};

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
pub(super) const RECORD_BYTES: usize = 8 + 8 + 4 + 16 + 4;

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

/// The detections on disk are not those that were written.
#[derive(Debug, thiserror::Error)]
#[error("{file} {what}")]
pub struct DamagedSpool {
    file: String,
    what: String,
}

/// A run's detections. An unnamed spool is deleted when the process ends.
pub struct Spool {
    /// Its path, or for an unnamed spool the path of the file that is written from it.
    path: PathBuf,
    is_named: bool,
    file: BufWriter<File>,
    ledger: Ledger,
    /// Whether the file was read since the last record was appended, which moved its position.
    was_read: bool,
}

impl Spool {
    /// An unnamed spool in the folder of the file that is written from it.
    ///
    /// # Errors
    /// If the folder is not writable.
    pub fn unnamed(output: &Path) -> Outcome<Self> {
        let folder = folder_of(output);
        let file = tempfile::tempfile_in(folder).map_err(|e| cannot("write in", folder, e))?;
        Ok(Self::of(output, false, file, Ledger::default()))
    }

    /// Opens a named spool without records, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be written, or another run uses it.
    pub fn named(path: &Path) -> Outcome<Self> {
        let file = open_locked(path, true)?;
        file.set_len(0).map_err(|e| cannot("write", path, e))?;
        Ok(Self::of(path, true, file, Ledger::default()))
    }

    /// Opens a named spool and keeps its first `n_records`, each of which `check` must accept: detections from after
    /// the checkpoint are made again. `digests`: of those records, if the checkpoint has them.
    ///
    /// # Errors
    /// [`DamagedSpool`] if the file does not have these records, which leaves it unchanged; others if it cannot be read,
    /// or another run uses it.
    pub(super) fn resumed(
        path: &Path,
        n_records: u64,
        digests: Option<&SpoolDigests>,
        mut check: impl FnMut(&SpoolRecord) -> Result<(), String>,
    ) -> Outcome<Self> {
        let mut file = match open_locked(path, false) {
            Err(failure) if is_missing(&failure) && n_records > 0 => {
                return Err(damaged(
                    &name(path),
                    format!("is missing, with the {n_records} detections of its checkpoint"),
                ));
            }
            Err(failure) if is_missing(&failure) => return Self::named(path),
            opened => opened?,
        };
        let failed = |e| cannot("read", path, e);
        let n_found = file.metadata().map_err(failed)?.len() / RECORD_BYTES as u64;
        if n_found < n_records {
            let what = format!("has only {n_found} of the {n_records} detections of its checkpoint");
            return Err(damaged(&name(path), what));
        }
        let reader = file.try_clone().map_err(failed)?;
        let mut ledger = Ledger::default();
        for record in Records::from_start(reader, name(path), n_records, digests.cloned())? {
            let record = record?;
            check(&record)
                .map_err(|why| damaged(&name(path), format!("has an impossible detection: {why}")))?;
            ledger.add(&record.to_bytes());
        }
        file.set_len(Self::size_bytes(n_records)).map_err(|e| cannot("write", path, e))?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self::of(path, true, file, ledger))
    }

    /// `file` is at its end, after the records that `ledger` has.
    fn of(path: &Path, is_named: bool, file: File, ledger: Ledger) -> Self {
        Self { path: path.to_owned(), is_named, file: BufWriter::new(file), ledger, was_read: false }
    }

    /// Length of a spool with `n_records`.
    pub fn size_bytes(n_records: u64) -> u64 {
        n_records * RECORD_BYTES as u64
    }

    /// Number of records, including those that are still buffered.
    pub fn n_records(&self) -> u64 {
        self.ledger.n_records()
    }

    /// Digests of the records, for a checkpoint.
    pub(super) fn digests(&self) -> SpoolDigests {
        self.ledger.digests()
    }

    /// Appends a record.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub fn push(&mut self, record: SpoolRecord) -> Outcome<()> {
        if std::mem::take(&mut self.was_read) {
            let end = SeekFrom::Start(Self::size_bytes(self.n_records()));
            self.file.seek(end).map_err(|e| self.failed(e))?;
        }
        let bytes = record.to_bytes();
        self.ledger.add(&bytes);
        self.file.write_all(&bytes).map_err(|e| self.failed(e))
    }

    /// Makes all records durable, and checks that they are on disk as they were written.
    ///
    /// # Errors
    /// If the disk is full or fails; [`DamagedSpool`] if the file has other records.
    pub fn sync(&mut self) -> Outcome<()> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        done.map_err(|e| self.failed(e))?;
        self.read()?.try_for_each(|record| record.map(drop))
    }

    /// Reads all records in order.
    ///
    /// # Errors
    /// If buffered records cannot be written. Items are errors if the file cannot be read; [`DamagedSpool`] if it has
    /// other records than those that were written.
    pub fn read(&mut self) -> Outcome<impl Iterator<Item = Outcome<SpoolRecord>> + use<>> {
        let file = self.file.flush().and_then(|()| self.file.get_ref().try_clone());
        let file = file.map_err(|e| self.failed(e))?;
        self.was_read = true;
        let name = match self.is_named {
            true => name(&self.path),
            false => format!("the temporary file next to {}", self.path.display()),
        };
        Records::from_start(file, name, self.n_records(), Some(self.digests()))
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

/// Opens the file of a named spool and locks it.
fn open_locked(path: &Path, create: bool) -> Outcome<File> {
    let mut options = File::options();
    options.read(true).write(true).truncate(false).create(create);
    let file = options.open(path).map_err(|e| cannot("open", path, e))?;
    if file.try_lock().is_err() {
        let message = format!("{} is in use by another run", path.display());
        return Err(
            Failure::msg(Kind::Failed, message).hint("wait for it, stop it, or name another checkpoint")
        );
    }
    Ok(file)
}

fn is_missing(failure: &Failure) -> bool {
    failure.cause::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound)
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

fn damaged(file: &str, what: impl Into<String>) -> Failure {
    Failure::new(Kind::Failed, DamagedSpool { file: file.to_owned(), what: what.into() })
        .hint("check the disk, and track the video again")
}

/// The records of a file, read in blocks. A block is compared with its digest before its first record is returned.
struct Records {
    file: File,
    /// Name of the file, for messages.
    name: String,
    digests: Option<SpoolDigests>,
    /// Records of the blocks that are not read yet.
    n_left: u64,
    n_read: u64,
    block: Vec<u8>,
    /// Bytes of the block that were returned.
    at: usize,
}

impl Records {
    fn from_start(
        mut file: File,
        name: String,
        n_records: u64,
        digests: Option<SpoolDigests>,
    ) -> Outcome<Self> {
        file.seek(SeekFrom::Start(0)).map_err(|e| cannot("read", Path::new(&name), e))?;
        if digests.as_ref().is_some_and(|digests| digests.n_blocks() != n_records.div_ceil(BLOCK_RECORDS)) {
            return Err(damaged(
                &name,
                format!("has a checkpoint that does not cover its {n_records} detections"),
            ));
        }
        Ok(Self { file, name, digests, n_left: n_records, n_read: 0, block: Vec::new(), at: 0 })
    }

    /// Reads and checks the next block.
    fn next_block(&mut self) -> Outcome<()> {
        let n = self.n_left.min(BLOCK_RECORDS);
        self.block.resize(n as usize * RECORD_BYTES, 0);
        self.at = 0;
        let last = self.n_read + n - 1;
        match self.file.read_exact(&mut self.block) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                let first = self.n_read;
                let what = format!("was truncated: detections {first} to {last} are not all there");
                return Err(damaged(&self.name, what));
            }
            Err(e) => return Err(cannot("read", Path::new(&self.name), e)),
        }
        let is_changed = |digests: &SpoolDigests| !digests.matches(self.n_read / BLOCK_RECORDS, &self.block);
        if self.digests.as_ref().is_some_and(is_changed) {
            let what =
                format!("was changed: detections {} to {last} are not those that were written", self.n_read);
            return Err(damaged(&self.name, what));
        }
        self.n_left -= n;
        self.n_read += n;
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Outcome<SpoolRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.block.len() {
            if self.n_left == 0 {
                return None;
            }
            if let Err(failure) = self.next_block() {
                (self.n_left, self.at) = (0, self.block.len());
                return Some(Err(failure));
            }
        }
        let bytes = self.block[self.at..].first_chunk()?;
        self.at += RECORD_BYTES;
        Some(Ok(SpoolRecord::from_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(frame: u64) -> SpoolRecord {
        SpoolRecord { frame, track_id: 7, prompt: 1, bbox: [1.5, -2.0, 3.0, 4.25], confidence: 0.875 }
    }

    fn frames(spool: &mut Spool) -> Vec<u64> {
        spool.read().unwrap().map(|d| d.unwrap().frame).collect()
    }

    fn resumed(path: &Path, n_records: u64, digests: Option<&SpoolDigests>) -> Outcome<Spool> {
        Spool::resumed(path, n_records, digests, |_| Ok(()))
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
        let mut spool = Spool::named(&path).unwrap();
        (0..2).for_each(|t| spool.push(record(t)).unwrap());
        let digests = spool.digests();
        (2..5).for_each(|t| spool.push(record(t)).unwrap());
        spool.sync().unwrap();
        drop(spool);
        // Checkpoints of earlier versions have no digests.
        for digests in [Some(&digests), None] {
            let mut spool = resumed(&path, 2, digests).unwrap();
            spool.push(record(9)).unwrap();
            assert_eq!(frames(&mut spool), [0, 1, 9]);
        }
        assert!(resumed(&path, 100, None).is_err());
    }

    /// A way to damage the file of a spool.
    type Damage = (&'static str, fn(&File, u64));

    const DAMAGE: [Damage; 5] = [
        ("cut short", |file, size| file.set_len(size / 2).unwrap()),
        ("emptied", |file, _| file.set_len(0).unwrap()),
        ("one record less", |file, size| file.set_len(size - RECORD_BYTES as u64).unwrap()),
        ("a hole in its middle", |file, size| {
            write_at(file, size / 2, &vec![0; 80 * RECORD_BYTES]);
        }),
        ("one bit of its last record", |file, size| write_at(file, size - 1, &[1])),
    ];

    fn write_at(mut file: &File, at: u64, bytes: &[u8]) {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn is_damaged<T>(outcome: Outcome<T>) -> bool {
        outcome.err().is_some_and(|failure| failure.cause::<DamagedSpool>().is_some())
    }

    #[test]
    fn a_file_that_was_changed_under_a_live_run_is_never_read_as_if_it_were_whole() {
        let n = 2 * BLOCK_RECORDS + 300;
        for (how, damage) in DAMAGE {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("spool");
            let mut spool = Spool::named(&path).unwrap();
            (0..n).for_each(|t| spool.push(record(t)).unwrap());
            spool.sync().unwrap();
            let digests = spool.digests();
            damage(&File::options().write(true).open(&path).unwrap(), Spool::size_bytes(n));
            // The run does not notice, and appends.
            (n..n + 10).for_each(|t| spool.push(record(t)).unwrap());
            let read: Outcome<Vec<SpoolRecord>> = spool.read().unwrap().collect();
            assert!(is_damaged(read), "{how}: read");
            assert!(is_damaged(spool.sync()), "{how}: before a checkpoint");
            drop(spool);
            let before = std::fs::read(&path).unwrap();
            assert!(is_damaged(resumed(&path, n, Some(&digests))), "{how}: resumed");
            assert!(std::fs::read(&path).unwrap() == before, "{how}: the file was changed");
        }
    }

    #[test]
    fn a_resumed_spool_continues_its_digests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool");
        let mut spool = Spool::named(&path).unwrap();
        (0..BLOCK_RECORDS + 5).for_each(|t| spool.push(record(t)).unwrap());
        spool.sync().unwrap();
        let digests = spool.digests();
        drop(spool);
        let mut spool = resumed(&path, BLOCK_RECORDS + 5, Some(&digests)).unwrap();
        (BLOCK_RECORDS + 5..3 * BLOCK_RECORDS).for_each(|t| spool.push(record(t)).unwrap());
        let mut whole = Spool::unnamed(&path).unwrap();
        (0..3 * BLOCK_RECORDS).for_each(|t| whole.push(record(t)).unwrap());
        assert_eq!(spool.digests(), whole.digests());
        assert_eq!(frames(&mut spool), frames(&mut whole));
    }
}
