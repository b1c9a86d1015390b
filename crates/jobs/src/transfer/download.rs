//! A file out of a bucket. What arrived is noted beside it; an interrupted download goes on from there. The
//! file has its name only when its size and hash are what they must be.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::{Arrived, FileFacts, OnArrival, in_background, write_whole};
use crate::bucket::{Bucket, Bulk, ETag, FolderBucket, PartStore};
use crate::error::{Error, Result};

/// Size of a range that is asked for at once.
const RANGE: u64 = 16 << 20;
/// Ranges under way at the same time.
const CONCURRENCY: usize = 8;

/// What arrived of a download, on disk.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    etag: String,
    size_bytes: u64,
    ranges: BTreeSet<u64>,
}

impl Journal {
    /// Bytes from the beginning without a gap.
    fn prefix(&self) -> u64 {
        let n_ranges = (0_u64..).zip(&self.ranges).take_while(|(i, start)| **start == i * RANGE).count();
        (n_ranges as u64 * RANGE).min(self.size_bytes)
    }

    /// Whether the last two ranges are there.
    fn has_end(&self) -> bool {
        let n_ranges = self.size_bytes.div_ceil(RANGE);
        (n_ranges.saturating_sub(2)..n_ranges).all(|i| self.ranges.contains(&(i * RANGE)))
    }
}

/// Downloads an object to a file, unless the file is there already and right. `size_bytes` and `sha256` are
/// what it must be, where that is known.
///
/// # Errors
/// [`Error::Missing`] if there is no such object, [`Error::Mismatch`] if it is another one. After
/// [`Error::Unavailable`] the same call goes on where it stopped.
pub async fn download(
    bucket: &dyn Bucket,
    key: &str,
    size_bytes: Option<u64>,
    sha256: Option<&str>,
    to: &Path,
    arrival: OnArrival<'_>,
) -> Result<FileFacts> {
    if let (true, Some(sha256)) = (to.exists(), sha256) {
        let facts = FileFacts::of_in_background(to).await?;
        if facts.sha256 == sha256 {
            return Ok(facts);
        }
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::file("create", folder, e))?;
    }
    let partial = beside(to, "partial");
    let journal = beside(to, "journal");
    match bucket.bulk() {
        Bulk::Folder(folder) => link(folder, key, &partial).await?,
        Bulk::Parts(store) => {
            in_ranges(bucket, store, key, size_bytes, &partial, &journal, arrival).await?;
        }
    }
    let facts = FileFacts::of_in_background(&partial).await?;
    let n_bytes = facts.size_bytes;
    arrival(Arrived { n_bytes, size_bytes: n_bytes, prefix: n_bytes, has_end: true, partial: &partial });
    let detail = match (size_bytes, sha256) {
        (Some(want), _) if want != facts.size_bytes => {
            Some(format!("it has {} bytes, not {want}", facts.size_bytes))
        }
        (_, Some(want)) if want != facts.sha256 => {
            Some(format!("its SHA-256 is {}, not {want}", facts.sha256))
        }
        _ => None,
    };
    let _ = std::fs::remove_file(&journal);
    if let Some(detail) = detail {
        let _ = std::fs::remove_file(&partial);
        return Err(Error::Mismatch { place: bucket.place(), key: key.to_owned(), detail });
    }
    std::fs::rename(&partial, to).map_err(|e| Error::file("write", to, e))?;
    // Renaming a file over another link of itself does nothing.
    let _ = std::fs::remove_file(&partial);
    Ok(facts)
}

fn beside(to: &Path, extension: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

async fn link(folder: &FolderBucket, key: &str, partial: &Path) -> Result<()> {
    let (from, to) = (folder.file(key)?, partial.to_owned());
    if !from.is_file() {
        return Err(Error::Missing { place: folder.place(), key: key.to_owned() });
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
    arrival: OnArrival<'_>,
) -> Result<()> {
    let missing = || Error::Missing { place: bucket.place(), key: key.to_owned() };
    let (size_bytes, etag) = bucket.head(key).await?.ok_or_else(missing)?;
    if let Some(want) = want_bytes.filter(|&want| want != size_bytes) {
        let detail = format!("it has {size_bytes} bytes, not {want}");
        return Err(Error::Mismatch { place: bucket.place(), key: key.to_owned(), detail });
    }
    let is_begun = std::fs::metadata(partial).is_ok_and(|file| file.len() == size_bytes);
    let file = open(partial, size_bytes)?;
    let mut journal = read_journal(journal_path)
        .filter(|old| is_begun && old.etag == etag.0 && old.size_bytes == size_bytes)
        .unwrap_or(Journal { etag: etag.0.clone(), size_bytes, ranges: BTreeSet::new() });
    let wanted: Vec<u64> =
        ends_first(size_bytes).into_iter().filter(|start| !journal.ranges.contains(start)).collect();
    let missing_bytes = |starts: &[u64]| starts.iter().map(|s| RANGE.min(size_bytes - s)).sum::<u64>();
    let through = AtomicU64::new(size_bytes - missing_bytes(&wanted));
    let (prefix, has_end) = (AtomicU64::new(0), AtomicBool::new(false));
    let tell = |n_bytes: u64| {
        let (prefix, has_end) = (prefix.load(Ordering::Relaxed), has_end.load(Ordering::Relaxed));
        arrival(Arrived { n_bytes, size_bytes, prefix, has_end, partial });
    };
    let note = |journal: &Journal| {
        prefix.store(journal.prefix(), Ordering::Relaxed);
        has_end.store(journal.has_end(), Ordering::Relaxed);
        tell(through.load(Ordering::Relaxed));
    };
    note(&journal);
    let mut arriving = futures::stream::iter(wanted)
        .map(|start| {
            let (file, etag, through, tell) = (&file, &etag, &through, &tell);
            async move {
                let range = start..(start + RANGE).min(size_bytes);
                one_range(store, key, range, etag, file, partial, |n| {
                    tell(through.fetch_add(n, Ordering::Relaxed) + n);
                })
                .await?;
                Ok::<_, Error>(start)
            }
        })
        .buffer_unordered(CONCURRENCY);
    while let Some(start) = arriving.try_next().await? {
        journal.ranges.insert(start);
        // What the journal counts must have reached the disk before it.
        file.sync_data().map_err(|e| Error::file("write", partial, e))?;
        write_whole(journal_path, &serde_json::to_vec(&journal).unwrap_or_default(), true)?;
        note(&journal);
    }
    Ok(())
}

/// Where the ranges of a file begin, in the order in which they are asked for: the first, the last two, and the
/// others one after the other. Whoever reads along needs the ends to make sense of the rest.
fn ends_first(size_bytes: u64) -> Vec<u64> {
    let mut starts: Vec<u64> = (0..size_bytes).step_by(RANGE as usize).collect();
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
    arrived: impl Fn(u64),
) -> Result<()> {
    let mut at = range.start;
    let mut pieces = store.read(key, range.clone(), etag).await?;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        write_at(file, &piece, at).map_err(|e| Error::file("write", path, e))?;
        at += piece.len() as u64;
        arrived(piece.len() as u64);
    }
    if at != range.end {
        let detail = format!("{key} ended at byte {at} of {}", range.end);
        return Err(Error::Unavailable { place: "the bucket".to_owned(), detail });
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

/// A journal that cannot be read is none.
fn read_journal(path: &Path) -> Option<Journal> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
