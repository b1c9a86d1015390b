//! Submitting a video as a job: record it in the library, upload the video, create the manifest.
//!
//! A submission can be interrupted anywhere and resumed by repeating it: the library's [row] of the job records
//! that it is unfinished, and a journal lists the uploaded parts of the video.

mod abandon;
mod files;
mod row;

use std::path::{Path, PathBuf};

use jobs::JobId;
use jobs::admin::Admin;
use jobs::manifest::{Manifest, Parameters, Target, Timestamp, VideoInfo};
use jobs::transfer::{self, FileDigest, OnProgress};
use serde::Serialize;
use store::{JobStatus, JobUpdate, Library, NewJob, SubmissionState, Video as Row};
use time::OffsetDateTime;

use crate::failure::{Failure, Kind, Outcome};
use crate::file_lock::FileLock;
use crate::{Client, parse_job_id, target, videos};

use files::{journal_path, lock_submission, video_key};

pub use abandon::abandon;
pub use row::{Submission, UPLOAD_FAILED, UPLOADING, WAITING, submission_of, unfinished_submission};

/// A job that was created in a bucket.
#[derive(Debug, Clone, Serialize)]
pub struct Submitted {
    /// Id of the job.
    pub job_id: String,
    /// Id of the video in the library.
    pub video_id: i64,
    /// Where the job is to run.
    pub target: Target,
    /// The bucket, as shown to the user.
    pub bucket: String,
    /// Size of the video in bytes.
    pub size_bytes: u64,
    /// Number of frames to track.
    pub n_frames: u64,
}

/// A submission that is recorded in the library; the bucket may not have it yet.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Id of the job.
    pub job_id: JobId,
    /// Number of frames to track.
    pub n_frames: u64,
    target: Target,
    created_at: OffsetDateTime,
    row: Row,
    facts: VideoInfo,
    submission: Submission,
}

/// Checks the video and the parameters and records the job in the library. Resumes an unfinished submission of the
/// same video with the same target and parameters.
///
/// # Errors
/// If the video is unknown, missing, changed or unreadable, or a parameter is out of range.
pub fn prepare(client: &Client, library: &mut Library, submission: Submission) -> Outcome<Prepared> {
    let row = videos::find(library, submission.video_id)?;
    let (row, video) = videos::open_unchanged(library, &row)?;
    submission.parameters.validate().map_err(|e| Failure::new(Kind::Failed, e))?;
    let name = Path::new(&row.file_path).file_name().map(|n| n.to_string_lossy().into_owned());
    let facts = VideoInfo {
        name,
        n_frames: Some(video.n_frames()),
        fps: Some(video.fps()),
        width: Some(video.width()),
        height: Some(video.height()),
        warnings: video.warnings().to_vec(),
        ..VideoInfo::default()
    };
    let target = submission.target.unwrap_or_else(|| client.default_target());
    let n_frames = submission.parameters.n_tracked_frames(video.n_frames(), video.fps());
    let parameters = serde_json::to_value(&submission.parameters).unwrap_or_default();
    let (job_id, created_at) = match row::find_unfinished(library, row.id, target, &parameters)? {
        Some(job) => (parse_job_id(&job.id)?, job.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
        None => {
            // Rounded to the manifest's precision, one millisecond.
            let created_at = Timestamp::of(client.env.utc()).moment();
            let id = hyphenated(&client.env.unique_id());
            let new = NewJob {
                parameters,
                created_at,
                progress_total: n_frames as i64,
                progress_message: UPLOADING.to_owned(),
                target: Some(target::to_store(target)),
                submission: Some(SubmissionState::Uploading),
                ..NewJob::new(id.clone(), row.id)
            };
            library.insert_job(&new)?;
            (parse_job_id(&id)?, created_at)
        }
    };
    Ok(Prepared { job_id, n_frames, target, created_at, row, facts, submission })
}

/// Uploads the video and creates the job: [`upload`], then [`enqueue`].
pub async fn send(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    progress: OnProgress<'_>,
) -> Outcome<Submitted> {
    let uploaded = upload(client, prepared, progress).await?;
    enqueue(client, library, prepared, &uploaded).await
}

/// A video that is in the bucket. Holds the lock of the submission, so that no other process works on it.
#[derive(Debug)]
pub struct Uploaded {
    key: String,
    content: FileDigest,
    _lock: FileLock,
}

/// Uploads the video of a job. The future may be dropped at any time; the next call resumes the upload.
///
/// # Errors
/// With [`jobs::Error::Refused`] as its cause while another process uploads the same job.
pub async fn upload(client: &Client, prepared: &Prepared, progress: OnProgress<'_>) -> Outcome<Uploaded> {
    let Prepared { job_id, target, row, .. } = prepared;
    let journal = journal_path(client, job_id);
    let lock = lock_submission(&journal, job_id)?;
    let admin = client.admin(*target)?;
    let file = PathBuf::from(&row.file_path);
    let key = video_key(job_id, &file);
    if let Some(content) = uploaded_before(&admin, job_id).await? {
        return Ok(Uploaded { key, content, _lock: lock });
    }
    let upload = transfer::Upload {
        bucket: &**admin.bucket(),
        key: &key,
        file: &file,
        journal: &journal,
        part_bytes: None,
    };
    let content = transfer::upload(upload, progress).await.map_err(upload_failure)?;
    Ok(Uploaded { key, content, _lock: lock })
}

/// The failure of an upload. Repeating the command helps unless the server refuses the settings.
fn upload_failure(error: jobs::Error) -> Failure {
    let is_refused = error.is_misconfiguration();
    let failure = Failure::from(error);
    if is_refused { failure } else { failure.hint("run the same command again to resume the upload") }
}

/// The content of a video whose manifest exists although the library still lists the submission as unfinished: the
/// previous run was interrupted before it could record the outcome.
async fn uploaded_before(admin: &Admin, id: &JobId) -> Outcome<Option<FileDigest>> {
    let manifest = match admin.job(id).await {
        Ok(manifest) => manifest,
        Err(jobs::Error::NoJob { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let facts = manifest.video.unwrap_or_default();
    Ok(facts.size_bytes.zip(facts.sha256).map(|(size_bytes, sha256)| FileDigest { size_bytes, sha256 }))
}

/// Creates the manifest of a job whose video is uploaded, and records it in the library.
pub async fn enqueue(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    uploaded: &Uploaded,
) -> Outcome<Submitted> {
    let Prepared { job_id, target, row, .. } = prepared;
    let Uploaded { key, content, .. } = uploaded;
    let admin = client.admin(*target)?;
    admin.submit(new_manifest(prepared, key, content)).await?;
    record_submitted(library, prepared, key, content)?;
    Ok(Submitted {
        job_id: job_id.to_string(),
        video_id: row.id,
        target: *target,
        bucket: admin.bucket().location(),
        size_bytes: content.size_bytes,
        n_frames: prepared.n_frames,
    })
}

fn new_manifest(prepared: &Prepared, key: &str, content: &FileDigest) -> Manifest {
    let parameters = Parameters { video_key: Some(key.to_owned()), ..prepared.submission.parameters.clone() };
    let mut manifest =
        Manifest::new(prepared.job_id.clone(), prepared.row.id, parameters, prepared.created_at);
    manifest.target = Some(prepared.target);
    manifest.max_attempts = prepared.submission.max_attempts;
    manifest.video = Some(VideoInfo {
        size_bytes: Some(content.size_bytes),
        sha256: Some(content.sha256.clone()),
        ..prepared.facts.clone()
    });
    manifest
}

fn record_submitted(
    library: &mut Library,
    prepared: &Prepared,
    key: &str,
    content: &FileDigest,
) -> Outcome<()> {
    let id = prepared.row.id;
    let file = store::FileFingerprint { sha256: Some(content.sha256.clone()), ..prepared.row.file.clone() };
    library.set_video_fingerprint(id, prepared.facts.n_frames.map(|n| n as i64), &file)?;
    library.set_video_r2_key(id, Some(key))?;
    videos::record_job_status(library, id, JobStatus::Pending)?;
    let waiting = JobUpdate {
        r2_video_key: Some(key.to_owned()),
        progress_message: Some(WAITING.to_owned()),
        submission: Some(SubmissionState::Submitted),
        ..JobUpdate::default()
    };
    Ok(library.update_job(prepared.job_id.as_str(), &waiting)?)
}

/// Formats 32 hexadecimal digits as a UUID.
fn hyphenated(unique: &str) -> String {
    let part = |range: std::ops::Range<usize>| unique.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}
