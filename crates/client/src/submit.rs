//! A video into a bucket as a job. Interrupted anywhere, the same submission goes on: the job's row in the
//! library says that it is under way, and a journal which parts arrived.

use std::path::{Path, PathBuf};

use jobs::JobId;
use jobs::admin::Admin;
use jobs::manifest::{DEFAULT_MAX_ATTEMPTS, Manifest, Parameters, Target, Timestamp, VideoInfo};
use jobs::transfer::{self, FileDigest, OnProgress};
use serde::Serialize;
use store::{JobFilter, JobRow, JobStatus, JobUpdate, Library, NewJob, Video as Row};
use time::OffsetDateTime;

use super::file_lock::FileLock;
use super::{Client, videos};
use crate::failure::{Failure, Kind, Outcome};

/// Message of a job whose video is not in the bucket yet.
pub const UPLOADING: &str = "uploading";
/// Message of a job whose video could not be uploaded.
pub const UPLOAD_FAILED: &str = "the upload failed";
/// Message of a job that waits.
pub const WAITING: &str = "waiting for a worker";

/// What to submit.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The video's number in the library.
    pub video_id: i64,
    /// Where it shall run; where the settings say if `None`.
    pub target: Option<Target>,
    /// What to do.
    pub parameters: Parameters,
    /// Attempts that may die or fail.
    pub max_attempts: u32,
}

/// A job that is in the bucket.
#[derive(Debug, Clone, Serialize)]
pub struct Submitted {
    /// The job.
    pub job_id: String,
    /// The video.
    pub video_id: i64,
    /// Where it shall run.
    pub target: Target,
    /// Where it lies.
    pub bucket: String,
    /// Size of the video.
    pub size_bytes: u64,
    /// Frames that will be tracked.
    pub n_frames: u64,
}

/// A submission that the library knows: the bucket may not.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The job.
    pub job_id: JobId,
    /// Frames that will be tracked.
    pub n_frames: u64,
    target: Target,
    created_at: OffsetDateTime,
    row: Row,
    facts: VideoInfo,
    submission: Submission,
}

/// Looks at the video and notes the job in the library. Goes on with an unfinished submission of the same.
pub fn prepare(client: &Client, library: &mut Library, submission: Submission) -> Outcome<Prepared> {
    let row = videos::known(library, submission.video_id)?;
    let (row, video) = videos::open_unchanged(library, &row)?;
    check(&submission.parameters)?;
    let name = Path::new(&row.file_path).file_name().map(|n| n.to_string_lossy().into_owned());
    let facts = VideoInfo {
        name,
        n_frames: Some(video.n_frames()),
        fps: Some(video.fps()),
        width: Some(video.width()),
        height: Some(video.height()),
        ..VideoInfo::default()
    };
    let target = submission.target.unwrap_or_else(|| client.default_target());
    let n_frames = submission.parameters.n_tracked_frames(video.n_frames(), video.fps());
    let parameters = serde_json::to_value(&submission.parameters).unwrap_or_default();
    let (job_id, created_at) = match unfinished(library, row.id, target, &parameters)? {
        Some(job) => (super::job_id(&job.id)?, job.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH)),
        None => {
            // To the millisecond, as the register has it.
            let created_at = Timestamp::of(client.env.utc()).moment();
            let id = hyphenated(&client.env.unique_id());
            let new = NewJob {
                parameters,
                created_at,
                progress_total: n_frames as i64,
                progress_message: UPLOADING.to_owned(),
                target: Some(store_target(target)),
                ..NewJob::new(id.clone(), row.id)
            };
            library.insert_job(&new)?;
            (super::job_id(&id)?, created_at)
        }
    };
    Ok(Prepared { job_id, n_frames, target, created_at, row, facts, submission })
}

/// Uploads the video and puts the job in the queue. The same call goes on where a failed one stopped.
pub async fn send(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    progress: OnProgress<'_>,
) -> Outcome<Submitted> {
    let uploaded = upload(client, prepared, progress).await?;
    enqueue(client, library, prepared, &uploaded).await
}

/// A video that is in the bucket, and nobody else is working at its submission.
#[derive(Debug)]
pub struct Uploaded {
    key: String,
    content: FileDigest,
    _turn: FileLock,
}

/// The first half of [`send`]: may be dropped anywhere, and goes on next time.
///
/// # Errors
/// [`jobs::Error::Refused`] while another program uploads the same job.
pub async fn upload(client: &Client, prepared: &Prepared, progress: OnProgress<'_>) -> Outcome<Uploaded> {
    let Prepared { job_id, target, row, .. } = prepared;
    let turn = FileLock::take(&journal(client, job_id), job_id)?;
    let admin = client.admin(*target)?;
    let file = PathBuf::from(&row.file_path);
    let key = video_key(job_id, &file);
    if let Some(content) = arrived(&admin, job_id).await? {
        return Ok(Uploaded { key, content, _turn: turn });
    }
    let upload = transfer::Upload {
        bucket: &**admin.bucket(),
        key: &key,
        file: &file,
        journal: &journal(client, job_id),
        part_bytes: None,
    };
    let content = transfer::upload(upload, progress)
        .await
        .map_err(|e| Failure::from(e).hint("run the same command again: it goes on with what has arrived"))?;
    Ok(Uploaded { key, content, _turn: turn })
}

/// What arrived of a submission that was in the queue before, though the library does not know it: its last word
/// was lost.
async fn arrived(admin: &Admin, id: &JobId) -> Outcome<Option<FileDigest>> {
    let manifest = match admin.job(id).await {
        Ok(manifest) => manifest,
        Err(jobs::Error::NoJob { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let facts = manifest.video.unwrap_or_default();
    Ok(facts.size_bytes.zip(facts.sha256).map(|(size_bytes, sha256)| FileDigest { size_bytes, sha256 }))
}

/// The second half of [`send`]: the job into the queue.
pub async fn enqueue(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    uploaded: &Uploaded,
) -> Outcome<Submitted> {
    let Prepared { job_id, target, row, .. } = prepared;
    let Uploaded { key, content, .. } = uploaded;
    let admin = client.admin(*target)?;
    admin.submit(register(prepared, key, content)).await?;
    note(library, prepared, key, content)?;
    Ok(Submitted {
        job_id: job_id.to_string(),
        video_id: row.id,
        target: *target,
        bucket: admin.bucket().location(),
        size_bytes: content.size_bytes,
        n_frames: prepared.n_frames,
    })
}

/// The submission that a row of the library stands for, if it did not end.
pub fn unfinished_submission(row: &JobRow) -> Option<Submission> {
    let is_unfinished =
        row.status == JobStatus::Pending && row.progress_message.as_deref() == Some(UPLOADING);
    is_unfinished.then(|| submission_of(row)).flatten()
}

/// Whether a row of the library stands for a submission that was given up by the program.
pub fn has_failed_to_upload(row: &JobRow) -> bool {
    row.status == JobStatus::Failed && row.progress_message.as_deref() == Some(UPLOAD_FAILED)
}

/// The submission that a row of the library came from.
pub fn submission_of(row: &JobRow) -> Option<Submission> {
    let target = match row.target? {
        store::Target::Local => Target::Local,
        store::Target::Cloud => Target::Cloud,
    };
    let parameters = serde_json::from_value(row.parameters.clone()?).ok()?;
    let video_id = row.video_id?;
    Some(Submission { video_id, target: Some(target), parameters, max_attempts: DEFAULT_MAX_ATTEMPTS })
}

/// Gives an unfinished submission up: the job is cancelled, and what of the video arrived is removed.
///
/// # Errors
/// [`jobs::Error::Refused`] while another program uploads it.
pub async fn abandon(client: &Client, library: &mut Library, row: &JobRow) -> Outcome<()> {
    let id = super::job_id(&row.id)?;
    let journal = journal(client, &id);
    let _turn = FileLock::take(&journal, &id)?;
    let Some(submission) = submission_of(row) else { return Ok(()) };
    let cancelled = JobUpdate {
        status: Some(JobStatus::Cancelled),
        progress_message: Some("cancelled".to_owned()),
        completed_at: Some(client.env.utc()),
        ..JobUpdate::default()
    };
    library.update_job(&row.id, &cancelled)?;
    let admin = client.admin(submission.target.unwrap_or_else(|| client.default_target()))?;
    // It may have arrived just before this turn.
    match admin.cancel(&id).await {
        Err(jobs::Error::NoJob { .. }) => {}
        other => return Ok(other.map(|_| ())?),
    }
    transfer::abort_upload(&**admin.bucket(), &journal).await?;
    if let Some(video) = row.video_id.map(|id| library.video(id)).transpose()?.flatten() {
        admin.bucket().delete(&video_key(&id, Path::new(&video.file_path))).await?;
    }
    Ok(())
}

fn video_key(id: &JobId, file: &Path) -> String {
    id.video_key(file.extension().and_then(|e| e.to_str()))
}

/// Where the parts that arrived are noted.
fn journal(client: &Client, id: &JobId) -> PathBuf {
    client.settings.scratch().join("uploads").join(format!("{id}.json"))
}

fn register(prepared: &Prepared, key: &str, content: &FileDigest) -> Manifest {
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

fn note(library: &mut Library, prepared: &Prepared, key: &str, content: &FileDigest) -> Outcome<()> {
    let id = prepared.row.id;
    let file = store::FileFacts { sha256: Some(content.sha256.clone()), ..prepared.row.file.clone() };
    library.set_video_file(id, prepared.facts.n_frames.map(|n| n as i64), &file)?;
    library.set_video_r2_key(id, Some(key))?;
    videos::note_processing(library, id, JobStatus::Pending)?;
    let waiting = JobUpdate {
        r2_video_key: Some(key.to_owned()),
        progress_message: Some(WAITING.to_owned()),
        ..JobUpdate::default()
    };
    Ok(library.update_job(prepared.job_id.as_str(), &waiting)?)
}

/// A submission of the same that did not end.
fn unfinished(
    library: &Library,
    video_id: i64,
    target: Target,
    parameters: &serde_json::Value,
) -> Outcome<Option<JobRow>> {
    let filter =
        JobFilter { video_id: Some(video_id), statuses: &[JobStatus::Pending], ..JobFilter::default() };
    let same = |job: &JobRow| {
        job.progress_message.as_deref() == Some(UPLOADING)
            && job.target == Some(store_target(target))
            && job.parameters.as_ref() == Some(parameters)
    };
    Ok(library.jobs(&filter)?.into_iter().find(same))
}

/// What the register's own reader would refuse, and what makes no sense.
pub fn check(parameters: &Parameters) -> Outcome<()> {
    parameters.validate().map_err(|error| Failure::new(Kind::Failed, error))
}

/// The library's word for a target.
pub fn store_target(target: Target) -> store::Target {
    match target {
        Target::Local => store::Target::Local,
        Target::Cloud => store::Target::Cloud,
    }
}

/// 32 hexadecimal digits as a UUID is written.
fn hyphenated(unique: &str) -> String {
    let part = |range: std::ops::Range<usize>| unique.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}
