//! Uploads a file. A journal on disk records the parts that were uploaded, so the same or another process can
//! resume an interrupted upload.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileDigest, OnProgress, hex, in_background, write_atomically};
use crate::bucket::{Bucket, BulkTransfer, PartStore, UploadId};
use crate::error::{Error, Result};

/// Smallest part size used, in bytes; larger files have larger parts. S3 requires at least 5 MiB, and R2
/// requires all parts but the last to have the same size.
const PART_BYTES: u64 = 16 << 20;
/// Most parts that S3 allows in one upload.
const MAX_PARTS: u64 = 10_000;
/// Parts in flight at the same time.
const CONCURRENCY: usize = 4;

/// How often the journal is synced to disk.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// A local file to upload, and where to.
#[derive(Debug)]
pub struct Upload<'a> {
    /// The bucket to upload to.
    pub bucket: &'a dyn Bucket,
    /// Key of the new object.
    pub key: &'a str,
    /// The local file to upload.
    pub file: &'a Path,
    /// Path of the journal. Removed when the upload is complete.
    pub journal: &'a Path,
    /// Size of a part in bytes; `None` for the default. Tests use small parts.
    pub part_bytes: Option<u64>,
}

/// The state of an unfinished upload, stored on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    key: String,
    file: Identity,
    part_bytes: u64,
    upload: UploadId,
    /// Uploaded parts by index, from 0.
    parts: BTreeMap<usize, UploadedPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UploadedPart {
    id: String,
    sha256: String,
}

/// Identifies a version of a local file, to detect that it changed during the upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    path: PathBuf,
    size_bytes: u64,
    modified_ns: u128,
}

impl Identity {
    fn of(path: &Path) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|e| Error::file("read", path, e))?;
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let modified_ns = modified.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        Ok(Self { path: path.to_owned(), size_bytes: meta.len(), modified_ns })
    }
}

/// Uploads a file and returns its size and hash. The object appears under its key only when it is complete.
///
/// # Errors
/// [`Error::FileChanged`] if the file changed during the upload. After [`Error::Unavailable`], calling this
/// again resumes the upload.
pub async fn upload(what: Upload<'_>, progress: OnProgress<'_>) -> Result<FileDigest> {
    let before = Identity::of(what.file)?;
    let facts = match what.bucket.bulk_transfer() {
        BulkTransfer::Folder(folder) => {
            let (folder, key, file) = (folder.clone(), what.key.to_owned(), what.file.to_owned());
            let facts = FileDigest::of_in_background(what.file).await?;
            in_background(move || folder.adopt(&key, &file)).await?;
            progress(before.size_bytes, before.size_bytes);
            facts
        }
        BulkTransfer::Parts(store) => in_parts(&what, store, &before, progress).await?,
    };
    if Identity::of(what.file)? != before {
        return Err(Error::FileChanged { path: what.file.to_owned() });
    }
    remove(what.journal)?;
    Ok(facts)
}

/// Aborts an unfinished upload: discards the uploaded parts and removes the journal.
///
/// # Errors
/// [`Error::Unavailable`] if the bucket is not responding; the journal is kept then.
pub async fn abort_upload(bucket: &dyn Bucket, journal: &Path) -> Result<()> {
    if let (BulkTransfer::Parts(store), Some(unfinished)) = (bucket.bulk_transfer(), read_journal(journal)) {
        match store.abort(&unfinished.key, &unfinished.upload).await {
            // Already aborted or completed.
            Ok(()) | Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    remove(journal)
}

/// Removes a journal, if it exists.
fn remove(journal: &Path) -> Result<()> {
    match std::fs::remove_file(journal) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::file("remove", journal, e)),
        _ => Ok(()),
    }
}

async fn in_parts(
    what: &Upload<'_>,
    store: &dyn PartStore,
    file: &Identity,
    progress: OnProgress<'_>,
) -> Result<FileDigest> {
    let default_bytes = PART_BYTES.max(file.size_bytes.div_ceil(MAX_PARTS).next_multiple_of(1 << 20));
    let part_bytes = what.part_bytes.unwrap_or(default_bytes);
    let is_same = |journal: &Journal| {
        journal.key == what.key && journal.file == *file && journal.part_bytes == part_bytes
    };
    match read_journal(what.journal) {
        Some(journal) if is_same(&journal) => match send(what, store, journal, progress).await {
            // The bucket dropped the old upload, or completed it and the response was lost.
            Err(Error::Missing { .. }) => {}
            other => return other,
        },
        // Parts of another file, or of an older version of this one. StoredObject parts are billed until they
        // are discarded.
        Some(journal) => {
            if let Err(error) = store.abort(&journal.key, &journal.upload).await {
                tracing::debug!(key = journal.key, %error, "cannot abort the outdated upload");
            }
        }
        None => {}
    }
    let upload = store.start(what.key).await?;
    let (key, file, parts) = (what.key.to_owned(), file.clone(), BTreeMap::new());
    let journal = Journal { key, file, part_bytes, upload, parts };
    write_journal(what.journal, &journal, true)?;
    send(what, store, journal, progress).await
}

/// Reads the file from the start, so that the hash covers exactly what was sent, and sends the parts that are
/// missing.
async fn send(
    what: &Upload<'_>,
    store: &dyn PartStore,
    mut journal: Journal,
    progress: OnProgress<'_>,
) -> Result<FileDigest> {
    let (size_bytes, part_bytes) = (journal.file.size_bytes, journal.part_bytes);
    // An empty file has one empty part.
    let n_parts = size_bytes.div_ceil(part_bytes).max(1) as usize;
    let reader = Reader::open(what.file, size_bytes, part_bytes)?;
    let known = journal.parts.clone();
    let upload = journal.upload.clone();
    let parts = futures::stream::try_unfold((reader, 0), move |(reader, index)| async move {
        if index == n_parts {
            return Ok(None);
        }
        let (reader, part) = reader.next().await?;
        Ok::<_, Error>(Some(((index, part), (reader, index + 1))))
    });
    let mut sent = std::pin::pin!(
        parts
            .map(|part| {
                let (known, upload) = (&known, &upload);
                async move {
                    let (index, part) = part?;
                    let uploaded = match known.get(&index).filter(|known| known.sha256 == part.sha256) {
                        Some(known) => known.clone(),
                        None => {
                            let id = store.part(what.key, upload, index, part.body.clone()).await?;
                            UploadedPart { id, sha256: part.sha256 }
                        }
                    };
                    Ok::<_, Error>((index, part.body.len() as u64, uploaded, part.file_sha256))
                }
            })
            .buffer_unordered(CONCURRENCY)
    );
    let mut n_sent = 0;
    let mut sha256 = String::new();
    let mut synced = Instant::now();
    while let Some(part) = sent.next().await {
        let (index, n_bytes, uploaded, file_sha256) = part?;
        if journal.parts.insert(index, uploaded.clone()).as_ref() != Some(&uploaded) {
            // A sync takes about as long as sending a part, so not every write is synced. A process that dies
            // loses nothing by that; after a power failure the upload may start over.
            let durable = synced.elapsed() >= SYNC_EVERY;
            write_journal(what.journal, &journal, durable)?;
            synced = if durable { Instant::now() } else { synced };
        }
        n_sent += n_bytes;
        sha256 = file_sha256.unwrap_or(sha256);
        progress(n_sent, size_bytes);
    }
    if Identity::of(what.file)? != journal.file {
        return Err(Error::FileChanged { path: what.file.to_owned() });
    }
    let ids = journal.parts.into_values().map(|part| part.id).collect();
    finish(what, store, &journal.upload, ids, size_bytes).await?;
    Ok(FileDigest { size_bytes, sha256 })
}

/// Combines the parts into the object. A failed completion may have taken effect, so the object is checked.
async fn finish(
    what: &Upload<'_>,
    store: &dyn PartStore,
    upload: &UploadId,
    ids: Vec<String>,
    size_bytes: u64,
) -> Result<()> {
    let Err(error) = store.complete(what.key, upload, ids).await else { return Ok(()) };
    match what.bucket.head(what.key).await? {
        Some((found_bytes, _)) if found_bytes == size_bytes => Ok(()),
        _ => Err(error),
    }
}

/// A part of the file, read into memory.
struct Part {
    body: Bytes,
    sha256: String,
    /// Hash of the complete file; only with its last part.
    file_sha256: Option<String>,
}

/// Reads a file part by part and hashes it along the way.
struct Reader {
    file: File,
    path: PathBuf,
    remaining_bytes: u64,
    part_bytes: u64,
    hasher: Sha256,
}

impl Reader {
    fn open(path: &Path, size_bytes: u64, part_bytes: u64) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file("read", path, e))?;
        let path = path.to_owned();
        Ok(Self { file, path, remaining_bytes: size_bytes, part_bytes, hasher: Sha256::new() })
    }

    async fn next(mut self) -> Result<(Self, Part)> {
        in_background(move || {
            let mut body = vec![0; self.remaining_bytes.min(self.part_bytes) as usize];
            self.file.read_exact(&mut body).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => Error::FileChanged { path: self.path.clone() },
                _ => Error::file("read", &self.path, e),
            })?;
            self.remaining_bytes -= body.len() as u64;
            self.hasher.update(&body);
            let file_sha256 = (self.remaining_bytes == 0).then(|| hex(self.hasher.clone()));
            let sha256 = format!("{:x}", Sha256::digest(&body));
            Ok((self, Part { body: body.into(), sha256, file_sha256 }))
        })
        .await
    }
}

/// Reads a journal; `None` if it is missing or invalid, and the upload then starts over.
fn read_journal(path: &Path) -> Option<Journal> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_journal(path: &Path, journal: &Journal, durable: bool) -> Result<()> {
    write_atomically(path, &serde_json::to_vec(journal).unwrap_or_default(), durable)
}
