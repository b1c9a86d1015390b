//! A file into a bucket. The parts that arrived are noted in a journal on disk; an interrupted upload goes on
//! from them, by the same process or another one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FileFacts, OnProgress, hex, in_background, write_whole};
use crate::bucket::{Bucket, Bulk, PartStore, UploadId};
use crate::error::{Error, Result};

/// Size of a part. All but the last must be equal (R2), at least 5 MiB, and at most 10,000.
const PART: u64 = 16 << 20;
const MAX_PARTS: u64 = 10_000;
/// Parts under way at the same time.
const CONCURRENCY: usize = 4;

/// Time from one note of what arrived that is waited for until it is on the disk to the next.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// What to upload.
#[derive(Debug)]
pub struct Upload<'a> {
    /// Where to.
    pub bucket: &'a dyn Bucket,
    /// Under which name.
    pub key: &'a str,
    /// What.
    pub file: &'a Path,
    /// Where to note the parts that arrived. Removed when all are.
    pub journal: &'a Path,
    /// Size of a part in bytes; `None` for the usual. Tests use small ones.
    pub part_bytes: Option<u64>,
}

/// An unfinished upload, on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Journal {
    key: String,
    file: Identity,
    part_bytes: u64,
    upload: UploadId,
    /// Parts that arrived, by number.
    parts: BTreeMap<usize, Arrived>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Arrived {
    id: String,
    sha256: String,
}

/// A file on disk that must not change while it is uploaded.
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

/// Uploads a file and returns what it is. The bucket has it whole, or not under that name.
///
/// # Errors
/// [`Error::Changed`] if the file changed meanwhile. After [`Error::Unavailable`] the same call goes on where
/// it stopped.
pub async fn upload(what: Upload<'_>, progress: OnProgress<'_>) -> Result<FileFacts> {
    let before = Identity::of(what.file)?;
    let facts = match what.bucket.bulk() {
        Bulk::Folder(folder) => {
            let (folder, key, file) = (folder.clone(), what.key.to_owned(), what.file.to_owned());
            let facts = FileFacts::of_in_background(what.file).await?;
            in_background(move || folder.adopt(&key, &file)).await?;
            progress(before.size_bytes, before.size_bytes);
            facts
        }
        Bulk::Parts(store) => in_parts(&what, store, &before, progress).await?,
    };
    if Identity::of(what.file)? != before {
        return Err(Error::Changed { path: what.file.to_owned() });
    }
    remove(what.journal)?;
    Ok(facts)
}

/// Gives an unfinished upload up: the parts that arrived are removed, and so is the journal.
///
/// # Errors
/// [`Error::Unavailable`] if the bucket does not answer; the journal stays then.
pub async fn give_up(bucket: &dyn Bucket, journal: &Path) -> Result<()> {
    if let (Bulk::Parts(store), Some(unfinished)) = (bucket.bulk(), read_journal(journal)) {
        match store.abort(&unfinished.key, &unfinished.upload).await {
            // Gone already.
            Ok(()) | Err(Error::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    remove(journal)
}

/// Removes a journal.
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
) -> Result<FileFacts> {
    let usual = PART.max(file.size_bytes.div_ceil(MAX_PARTS).next_multiple_of(1 << 20));
    let part_bytes = what.part_bytes.unwrap_or(usual);
    let is_same = |journal: &Journal| {
        journal.key == what.key && journal.file == *file && journal.part_bytes == part_bytes
    };
    match read_journal(what.journal) {
        Some(journal) if is_same(&journal) => match send(what, store, journal, progress).await {
            // The bucket gave the old upload up, or completed it before its answer was lost.
            Err(Error::Missing { .. }) => {}
            other => return other,
        },
        // Parts of another file, or of what this one was. They are billed while they lie there.
        Some(journal) => {
            if let Err(error) = store.abort(&journal.key, &journal.upload).await {
                tracing::debug!(key = journal.key, %error, "the unfinished upload was not removed");
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

/// Reads the file from its beginning, so that the hash is of what was sent, and sends the parts that did not
/// arrive yet.
async fn send(
    what: &Upload<'_>,
    store: &dyn PartStore,
    mut journal: Journal,
    progress: OnProgress<'_>,
) -> Result<FileFacts> {
    let (size_bytes, part_bytes) = (journal.file.size_bytes, journal.part_bytes);
    // An empty file is one empty part.
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
                    let arrived = match known.get(&index).filter(|known| known.sha256 == part.sha256) {
                        Some(known) => known.clone(),
                        None => {
                            let id = store.part(what.key, upload, index, part.body.clone()).await?;
                            Arrived { id, sha256: part.sha256 }
                        }
                    };
                    Ok::<_, Error>((index, part.body.len() as u64, arrived, part.whole))
                }
            })
            .buffer_unordered(CONCURRENCY)
    );
    let mut through = 0;
    let mut sha256 = String::new();
    let mut synced = Instant::now();
    while let Some(part) = sent.next().await {
        let (index, length, arrived, whole) = part?;
        if journal.parts.insert(index, arrived.clone()).as_ref() != Some(&arrived) {
            // To wait for the disk takes as long as sending a part. A process that dies loses nothing by not
            // waiting; after a power failure the upload may begin anew.
            let durable = synced.elapsed() >= SYNC_EVERY;
            write_journal(what.journal, &journal, durable)?;
            synced = if durable { Instant::now() } else { synced };
        }
        through += length;
        sha256 = whole.unwrap_or(sha256);
        progress(through, size_bytes);
    }
    if Identity::of(what.file)? != journal.file {
        return Err(Error::Changed { path: what.file.to_owned() });
    }
    let ids = journal.parts.into_values().map(|part| part.id).collect();
    finish(what, store, &journal.upload, ids, size_bytes).await?;
    Ok(FileFacts { size_bytes, sha256 })
}

/// Makes one object of the parts. A failed completion may have happened.
async fn finish(
    what: &Upload<'_>,
    store: &dyn PartStore,
    upload: &UploadId,
    ids: Vec<String>,
    size_bytes: u64,
) -> Result<()> {
    let Err(error) = store.complete(what.key, upload, ids).await else { return Ok(()) };
    match what.bucket.head(what.key).await? {
        Some((there, _)) if there == size_bytes => Ok(()),
        _ => Err(error),
    }
}

/// A part that was read.
struct Part {
    body: Bytes,
    sha256: String,
    /// Hash of the whole file, with its last part.
    whole: Option<String>,
}

/// Reads a file part by part, and hashes it as it goes.
struct Reader {
    file: File,
    path: PathBuf,
    left: u64,
    part_bytes: u64,
    whole: Sha256,
}

impl Reader {
    fn open(path: &Path, size_bytes: u64, part_bytes: u64) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::file("read", path, e))?;
        Ok(Self { file, path: path.to_owned(), left: size_bytes, part_bytes, whole: Sha256::new() })
    }

    async fn next(mut self) -> Result<(Self, Part)> {
        in_background(move || {
            let mut body = vec![0; self.left.min(self.part_bytes) as usize];
            self.file.read_exact(&mut body).map_err(|e| match e.kind() {
                ErrorKind::UnexpectedEof => Error::Changed { path: self.path.clone() },
                _ => Error::file("read", &self.path, e),
            })?;
            self.left -= body.len() as u64;
            self.whole.update(&body);
            let whole = (self.left == 0).then(|| hex(self.whole.clone()));
            let sha256 = format!("{:x}", Sha256::digest(&body));
            Ok((self, Part { body: body.into(), sha256, whole }))
        })
        .await
    }
}

/// A journal that cannot be read is none: the upload begins anew.
fn read_journal(path: &Path) -> Option<Journal> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_journal(path: &Path, journal: &Journal, durable: bool) -> Result<()> {
    write_whole(path, &serde_json::to_vec(journal).unwrap_or_default(), durable)
}
