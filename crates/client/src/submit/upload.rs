//! Bringing the video of a job into its bucket: it is uploaded, unless the bucket has it.

use jobs::JobId;
use jobs::admin::Admin;
use jobs::bucket::Bucket;
use jobs::keys::check_key;
use jobs::transfer::{self, FileDigest, OnProgress};
use store::Video as Row;

use super::Prepared;
use super::files::{journal_path, lock_submission, video_key};
use super::reuse::has_content;
use crate::failure::{Failure, Kind, Outcome};
use crate::file_lock::FileLock;
use crate::terminal::notify;
use crate::{Client, videos};

/// A video that is in the bucket. Holds the lock of the submission, so that no other process works on it.
#[derive(Debug)]
pub struct Uploaded {
    pub(super) key: String,
    pub(super) size_bytes: u64,
    /// `None` for an object of another program.
    pub(super) sha256: Option<String>,
    /// The job that the object was uploaded for, if it is another one of this library.
    pub(super) uploaded_for: Option<JobId>,
    _lock: FileLock,
}

impl Uploaded {
    fn new(key: String, content: FileDigest, lock: FileLock) -> Self {
        let FileDigest { size_bytes, sha256 } = content;
        Self { key, size_bytes, sha256: Some(sha256), uploaded_for: None, _lock: lock }
    }
}

/// Uploads the video of a job, unless the bucket has it. The future may be dropped at any time; the next call resumes the
/// upload.
///
/// # Errors
/// With [`jobs::Error::Refused`] as its cause while another process uploads the same job.
pub async fn upload(client: &Client, prepared: &Prepared, progress: OnProgress<'_>) -> Outcome<Uploaded> {
    let Prepared { job_id, target, row, .. } = prepared;
    let journal = journal_path(client, job_id);
    let lock = lock_submission(&journal, job_id)?;
    let admin = client.admin(*target)?;
    let bucket = &**admin.bucket();
    let file = match (videos::locate(&client.settings, row), &row.r2_key) {
        (None, Some(key)) => return in_bucket(bucket, key, row, lock).await,
        _ => videos::find_file(&client.settings, row)?,
    };
    let key = match placed(&admin, job_id).await? {
        Some((key, Some(content))) if has_content(bucket, &key, &content).await => {
            return Ok(Uploaded::new(key, content, lock));
        }
        // The manifest names this key.
        Some((key, _)) => key,
        None => match reused(bucket, prepared).await {
            Some((key, content)) => {
                let uploaded_for = JobId::from_video_key(&key).filter(|id| id != job_id);
                return Ok(Uploaded { uploaded_for, ..Uploaded::new(key, content, lock) });
            }
            None => video_key(job_id, &file),
        },
    };
    let upload = transfer::Upload { bucket, key: &key, file: &file, journal: &journal, part_bytes: None };
    let content = transfer::upload(upload, progress).await.map_err(|e| upload_failure(e, job_id))?;
    Ok(Uploaded::new(key, content, lock))
}

/// The key and the content of an object that an earlier job uploaded from the same video.
async fn reused(bucket: &dyn Bucket, prepared: &Prepared) -> Option<(String, FileDigest)> {
    let found = prepared.reusable.as_ref()?.find(bucket).await?;
    notify(format!("{} has the video already, as {}", bucket.location(), found.0));
    Some(found)
}

/// A video that is neither here nor in the bucket.
#[derive(Debug, thiserror::Error)]
#[error("video {video_id} has no file, and {bucket} has no {key}")]
pub(super) struct Nowhere {
    video_id: i64,
    bucket: String,
    key: String,
}

/// A video that only the bucket has, under this key.
async fn in_bucket(bucket: &dyn Bucket, key: &str, row: &Row, lock: FileLock) -> Outcome<Uploaded> {
    check_key(key).map_err(jobs::Error::from)?;
    let Some((size_bytes, _)) = bucket.head(key).await? else {
        let nowhere = Nowhere { video_id: row.id, bucket: bucket.location(), key: key.to_owned() };
        return Err(Failure::new(Kind::Failed, nowhere)
            .hint("add its file with `courtside videos add FILE`, or check R2_BUCKET_NAME and --target"));
    };
    let is_recorded = row.file.size_bytes.and_then(|size| u64::try_from(size).ok()) == Some(size_bytes);
    let sha256 = row.file.sha256.clone().filter(|_| is_recorded);
    Ok(Uploaded { key: key.to_owned(), size_bytes, sha256, uploaded_for: None, _lock: lock })
}

/// The failure of an upload. Resuming it helps unless the server refuses the settings.
fn upload_failure(error: jobs::Error, id: &JobId) -> Failure {
    let is_refused = error.is_misconfiguration();
    let failure = Failure::from(error);
    match is_refused {
        true => failure,
        false => failure.hint(format!("run `courtside submit --resume {id}` to resume the upload")),
    }
}

/// The key and the content of the video according to the job's manifest; `None` without a manifest. There is one if the
/// previous run was interrupted before it could record the outcome in the library, and if a job is retried whose video is
/// no longer in the bucket.
async fn placed(admin: &Admin, id: &JobId) -> Outcome<Option<(String, Option<FileDigest>)>> {
    let manifest = match admin.job(id).await {
        Ok(manifest) => manifest,
        Err(jobs::Error::NoJob { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (key, facts) = (manifest.video_key(), manifest.video.unwrap_or_default());
    let content =
        facts.size_bytes.zip(facts.sha256).map(|(size_bytes, sha256)| FileDigest { size_bytes, sha256 });
    Ok(Some((key, content)))
}
