//! Downloads a file. A journal next to the file records the ranges that were written, so an interrupted
//! download can be resumed. The file gets its name only after its size and hash have been verified.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{DownloadProgress, FileDigest, OnDownloadProgress, in_background, write_atomically};
use crate::bucket::{Bucket, BulkTransfer, ETag, FolderBucket, PartStore};
use crate::error::{Error, Result};
use crate::quote::quoted;

/// Bytes requested by one ranged GET.
const RANGE_BYTES: u64 = 16 << 20;
/// Requests in flight at the same time.
const CONCURRENCY: usize = 8;

/// The state of an unfinished download, stored on disk.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    etag: String,
    size_bytes: u64,
    /// Start offsets of the ranges that have been written and synced.
    ranges: BTreeSet<u64>,
}

impl Journal {
    /// Length of the contiguous start of the file.
    fn prefix(&self) -> u64 {
        let n_ranges =
            (0_u64..).zip(&self.ranges).take_while(|(i, start)| **start == i * RANGE_BYTES).count();
        (n_ranges as u64 * RANGE_BYTES).min(self.size_bytes)
    }

    /// Whether the last two ranges have been written.
    fn has_end(&self) -> bool {
        let n_ranges = self.size_bytes.div_ceil(RANGE_BYTES);
        (n_ranges.saturating_sub(2)..n_ranges).all(|i| self.ranges.contains(&(i * RANGE_BYTES)))
    }
}

/// Downloads an object to the file `to`, unless that file exists already and has the hash `sha256`.
/// `size_bytes` and `sha256` are the expected values, if known.
///
/// # Errors
/// [`Error::Missing`] if the object does not exist, [`Error::Mismatch`] if it has another size or hash, or
/// was replaced during the download. After [`Error::Unavailable`], calling this again resumes the download.
pub async fn download(
    bucket: &dyn Bucket,
    key: &str,
    size_bytes: Option<u64>,
    sha256: Option<&str>,
    to: &Path,
    arrival: OnDownloadProgress<'_>,
) -> Result<FileDigest> {
    if let (true, Some(sha256)) = (to.exists(), sha256) {
        let facts = FileDigest::of_in_background(to).await?;
        if facts.sha256 == sha256 {
            return Ok(facts);
        }
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::file("create", folder, e))?;
    }
    let partial = with_suffix(to, "partial");
    let journal = with_suffix(to, "journal");
    match bucket.bulk_transfer() {
        BulkTransfer::Folder(folder) => link(folder, key, &partial).await?,
        BulkTransfer::Parts(store) => {
            in_ranges(bucket, store, key, size_bytes, &partial, &journal, arrival).await?;
        }
    }
    let facts = FileDigest::of_in_background(&partial).await?;
    let n_bytes = facts.size_bytes;
    arrival(DownloadProgress {
        n_bytes,
        size_bytes: n_bytes,
        prefix: n_bytes,
        has_end: true,
        partial: &partial,
    });
    let detail = match (size_bytes, sha256) {
        (Some(want), _) if want != facts.size_bytes => {
            Some(format!("it has {} bytes instead of {want}", facts.size_bytes))
        }
        (_, Some(want)) if want != facts.sha256 => {
            Some(format!("its SHA-256 is {} instead of {}", facts.sha256, quoted(want)))
        }
        _ => None,
    };
    let _ = std::fs::remove_file(&journal);
    if let Some(detail) = detail {
        let _ = std::fs::remove_file(&partial);
        return Err(Error::Mismatch { location: bucket.location(), key: key.to_owned(), detail });
    }
    std::fs::rename(&partial, to).map_err(|e| Error::file("write", to, e))?;
    // Renaming a file over another hard link to itself does nothing and leaves the source in location.
    let _ = std::fs::remove_file(&partial);
    Ok(facts)
}

fn with_suffix(to: &Path, extension: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

async fn link(folder: &FolderBucket, key: &str, partial: &Path) -> Result<()> {
    let (from, to) = (folder.file(key)?, partial.to_owned());
    if !from.is_file() {
        return Err(Error::Missing { location: folder.location(), key: key.to_owned() });
    }
    in_background(move || {
        let _ = std::fs::remove_file(&to);
        crate::bucket::link_or_copy(&from, &to)
    })
    .await
}

async fn in_ranges(
    bucket: &dyn Bucket,
    store: &dyn PartStore,
    key: &str,
    want_bytes: Option<u64>,
    partial: &Path,
    journal_path: &Path,
    arrival: OnDownloadProgress<'_>,
) -> Result<()> {
    let missing = || Error::Missing { location: bucket.location(), key: key.to_owned() };
    let (size_bytes, etag) = bucket.head(key).await?.ok_or_else(missing)?;
    if let Some(want) = want_bytes.filter(|&want| want != size_bytes) {
        let detail = format!("it has {size_bytes} bytes instead of {want}");
        return Err(Error::Mismatch { location: bucket.location(), key: key.to_owned(), detail });
    }
    let is_resumable = std::fs::metadata(partial).is_ok_and(|file| file.len() == size_bytes);
    let file = open(partial, size_bytes)?;
    let mut journal = read_journal(journal_path)
        .filter(|old| is_resumable && old.etag == etag.0 && old.size_bytes == size_bytes)
        .unwrap_or(Journal { etag: etag.0.clone(), size_bytes, ranges: BTreeSet::new() });
    let remaining: Vec<u64> =
        ends_first(size_bytes).into_iter().filter(|start| !journal.ranges.contains(start)).collect();
    let missing_bytes = |starts: &[u64]| starts.iter().map(|s| RANGE_BYTES.min(size_bytes - s)).sum::<u64>();
    let n_written = AtomicU64::new(size_bytes - missing_bytes(&remaining));
    let (prefix, has_end) = (AtomicU64::new(0), AtomicBool::new(false));
    let report = |n_bytes: u64| {
        let (prefix, has_end) = (prefix.load(Ordering::Relaxed), has_end.load(Ordering::Relaxed));
        arrival(DownloadProgress { n_bytes, size_bytes, prefix, has_end, partial });
    };
    let report_journal = |journal: &Journal| {
        prefix.store(journal.prefix(), Ordering::Relaxed);
        has_end.store(journal.has_end(), Ordering::Relaxed);
        report(n_written.load(Ordering::Relaxed));
    };
    report_journal(&journal);
    let mut completed = futures::stream::iter(remaining)
        .map(|start| {
            let (file, etag, n_written, report) = (&file, &etag, &n_written, &report);
            async move {
                let range = start..(start + RANGE_BYTES).min(size_bytes);
                one_range(store, key, range, etag, file, partial, |n| {
                    report(n_written.fetch_add(n, Ordering::Relaxed) + n);
                })
                .await?;
                Ok::<_, Error>(start)
            }
        })
        .buffer_unordered(CONCURRENCY);
    while let Some(start) = completed.try_next().await? {
        journal.ranges.insert(start);
        // A range must reach the disk before the journal lists it.
        file.sync_data().map_err(|e| Error::file("write", partial, e))?;
        write_atomically(journal_path, &serde_json::to_vec(&journal).unwrap_or_default(), true)?;
        report_journal(&journal);
    }
    Ok(())
}

/// Start offsets of all ranges in the order of download: the first, the last two, then the others in order. A
/// reader of the incomplete file needs the ends to make sense of the rest.
fn ends_first(size_bytes: u64) -> Vec<u64> {
    let mut starts: Vec<u64> = (0..size_bytes).step_by(RANGE_BYTES as usize).collect();
    let n_ends = starts.len().saturating_sub(1).min(2);
    starts.get_mut(1..).unwrap_or_default().rotate_right(n_ends);
    starts
}

fn open(partial: &Path, size_bytes: u64) -> Result<File> {
    let failed = |e| Error::file("write", partial, e);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(partial).map_err(failed)?;
    file.set_len(size_bytes).map_err(failed)?;
    Ok(file)
}

async fn one_range(
    store: &dyn PartStore,
    key: &str,
    range: std::ops::Range<u64>,
    etag: &ETag,
    file: &File,
    path: &Path,
    on_bytes: impl Fn(u64),
) -> Result<()> {
    let mut at = range.start;
    let mut pieces = store.read(key, range.clone(), etag).await?;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        write_at(file, &piece, at).map_err(|e| Error::file("write", path, e))?;
        at += piece.len() as u64;
        on_bytes(piece.len() as u64);
    }
    if at != range.end {
        let detail = format!("{key} ended at byte {at} of {}", range.end);
        return Err(Error::Unavailable { location: "the bucket".to_owned(), detail });
    }
    Ok(())
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    file.write_all_at(bytes, offset)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

/// Reads a journal; `None` if it is missing or invalid, and the download then starts over.
fn read_journal(path: &Path) -> Option<Journal> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
