//! Submitting a video as a job: record it in the library, upload the video, create the manifest.
//!
//! A submission can be interrupted anywhere and resumed by repeating it: the library's [row] of the job records
//! that it is unfinished, and a journal lists the uploaded parts of the video.

mod abandon;
mod background;
mod files;
mod reuse;
mod row;
mod same;
mod upload;

use jobs::JobId;
use jobs::manifest::{Manifest, Parameters, Status, Submitter, Target, Timestamp, VideoInfo};
use jobs::transfer::OnProgress;
use serde::Serialize;
use store::{JobRow, JobStatus, JobUpdate, Library, NewJob, SubmissionState, Video as Row};
use time::OffsetDateTime;
use video::Video;

use crate::failure::{Failure, Kind, Outcome};
use crate::host::host_name;
use crate::{Client, parse_job_id, target, videos};

pub use abandon::abandon;
pub use background::{is_background, mark_background, unmark_background};
use reuse::Reusable;
pub(crate) use row::reopened;
use row::row_parameters;
pub use row::{Submission, UPLOAD_FAILED, UPLOADING, WAITING, submission_of, unfinished_submission};
pub use same::{check_not_submitted, open_job_like};
use upload::Nowhere;
pub use upload::{Uploaded, upload};

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
    /// `None` if the video was never uploaded.
    reusable: Option<Reusable>,
}

/// Checks the video and the parameters and records the job in the library. Resumes an unfinished submission of the
/// same video with the same target and parameters.
///
/// # Errors
/// If the video is unknown, missing, changed or unreadable, or a parameter is out of range.
pub fn prepare(client: &Client, library: &mut Library, submission: Submission) -> Outcome<Prepared> {
    let checked = check(client, library, submission)?;
    let parameters = row_parameters(&checked.submission);
    match row::find_unfinished(library, checked.row.id, checked.target, &parameters)? {
        Some(job) => checked.resumed(library, &job),
        None => {
            let id = hyphenated(&client.env.unique_id());
            let new = NewJob {
                parameters,
                // Rounded to the manifest's precision, one millisecond.
                created_at: Timestamp::of(client.env.utc()).moment(),
                progress_total: checked.n_frames() as i64,
                progress_message: UPLOADING.to_owned(),
                target: Some(target::to_store(checked.target)),
                submission: Some(SubmissionState::Uploading),
                ..NewJob::new(id.clone(), checked.row.id)
            };
            library.insert_job(&new)?;
            checked.prepared(library, &row::find(library, &parse_job_id(&id)?)?)
        }
    }
}

/// Prepares a job of the library again: its submission is unfinished or failed, or [`retry`] reopened it.
///
/// # Errors
/// As for [`prepare`]; if this library did not submit the job; with [`jobs::Error::Refused`] as its cause if its
/// submission is complete.
///
/// [`retry`]: crate::job_actions::retry
pub fn prepare_again(client: &Client, library: &mut Library, id: &JobId) -> Outcome<Prepared> {
    let job = row::find(library, id)?;
    if !job.is_uploading() && !job.has_failed_upload() {
        return Err(row::not_resumable(&job));
    }
    let submission = submission_of(&job).ok_or_else(|| row::not_resumable(&job))?;
    let checked = check(client, library, submission)?;
    checked.resumed(library, &job)
}

fn facts_of(row: &Row, video: &Video) -> VideoInfo {
    VideoInfo {
        name: videos::file_name(row),
        n_frames: Some(video.n_frames()),
        fps: Some(video.fps()),
        width: Some(video.width()),
        height: Some(video.height()),
        stream: row.stream,
        warnings: video.warnings().to_vec(),
        ..VideoInfo::default()
    }
}

/// What the library knows of a video whose file is not here.
fn recorded_facts(row: &Row) -> VideoInfo {
    let (width, height) = row.frame_size().unzip();
    let n_frames = row.n_frames.and_then(|n| u64::try_from(n).ok());
    VideoInfo {
        name: videos::file_name(row),
        n_frames,
        fps: row.fps,
        width,
        height,
        stream: row.stream,
        ..VideoInfo::default()
    }
}

/// A submission whose video and parameters are valid.
struct Checked {
    row: Row,
    facts: VideoInfo,
    target: Target,
    submission: Submission,
}

impl Checked {
    /// Number of frames to track; 0 if it is not known.
    fn n_frames(&self) -> u64 {
        let fps = self.facts.fps.unwrap_or(0.0);
        let n_frames = self.facts.n_frames.unwrap_or_else(|| videos::estimated_frames(&self.row));
        self.submission.parameters.n_tracked_frames(n_frames, fps)
    }

    /// Prepares a job whose upload is unfinished or failed.
    fn resumed(self, library: &Library, job: &JobRow) -> Outcome<Prepared> {
        if !job.is_uploading() {
            library.update_job(&job.id, &row::reopened())?;
        }
        self.prepared(library, job)
    }

    fn prepared(self, library: &Library, job: &JobRow) -> Outcome<Prepared> {
        Ok(Prepared {
            job_id: parse_job_id(&job.id)?,
            n_frames: self.n_frames(),
            reusable: Reusable::of(library, &self.row, self.target)?,
            target: self.target,
            created_at: job.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            row: self.row,
            facts: self.facts,
            submission: self.submission,
        })
    }
}

fn check(client: &Client, library: &mut Library, submission: Submission) -> Outcome<Checked> {
    let row = videos::find(library, submission.video_id)?;
    submission.parameters.validate().map_err(|e| Failure::new(Kind::Failed, e))?;
    let (row, facts) = match videos::is_only_in_bucket(&client.settings, &row) {
        true => {
            let facts = recorded_facts(&row);
            (row, facts)
        }
        false => {
            let (row, video) = videos::open_unchanged(&client.settings, library, &row)?;
            let facts = facts_of(&row, &video);
            (row, facts)
        }
    };
    let target = submission.target.unwrap_or_else(|| client.default_target());
    Ok(Checked { row, facts, target, submission })
}

/// Uploads the video and creates the job: [`upload`], then [`enqueue`].
pub async fn send(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    progress: OnProgress<'_>,
) -> Outcome<Submitted> {
    let uploaded = match upload(client, prepared, progress).await {
        Err(failure) if failure.cause::<Nowhere>().is_some() => {
            // There is nothing to resume.
            if let Some(row) = library.job(prepared.job_id.as_str())? {
                abandon(client, library, &row).await?;
            }
            return Err(failure);
        }
        uploaded => uploaded?,
    };
    enqueue(client, library, prepared, &uploaded).await
}

/// Creates the manifest of a job whose video is uploaded, and records it in the library.
pub async fn enqueue(
    client: &Client,
    library: &mut Library,
    prepared: &Prepared,
    uploaded: &Uploaded,
) -> Outcome<Submitted> {
    let Prepared { job_id, target, row, .. } = prepared;
    let admin = client.admin(*target)?;
    let library_id = client.library_id(library)?;
    let manifest = admin.submit(new_manifest(prepared, uploaded, library_id)).await?;
    if matches!(manifest.status, Status::Failed | Status::Cancelled) {
        admin.retry(job_id).await?;
    }
    record_submitted(library, prepared, uploaded)?;
    Ok(Submitted {
        job_id: job_id.to_string(),
        video_id: row.id,
        target: *target,
        bucket: admin.bucket().location(),
        size_bytes: uploaded.size_bytes,
        n_frames: prepared.n_frames,
    })
}

fn new_manifest(prepared: &Prepared, uploaded: &Uploaded, library_id: String) -> Manifest {
    let parameters =
        Parameters { video_key: Some(uploaded.key.clone()), ..prepared.submission.parameters.clone() };
    let mut manifest =
        Manifest::new(prepared.job_id.clone(), prepared.row.id, parameters, prepared.created_at);
    manifest.target = Some(prepared.target);
    manifest.max_attempts = prepared.submission.max_attempts;
    manifest.submitter = Some(Submitter { library_id, host: host_name() });
    manifest.video = Some(VideoInfo {
        size_bytes: Some(uploaded.size_bytes),
        sha256: uploaded.sha256.clone(),
        uploaded_for: uploaded.uploaded_for.clone(),
        ..prepared.facts.clone()
    });
    manifest
}

fn record_submitted(library: &mut Library, prepared: &Prepared, uploaded: &Uploaded) -> Outcome<()> {
    let id = prepared.row.id;
    if let Some(sha256) = &uploaded.sha256 {
        let file = store::FileFingerprint { sha256: Some(sha256.clone()), ..prepared.row.file.clone() };
        library.set_video_fingerprint(id, prepared.facts.n_frames.map(|n| n as i64), &file)?;
    }
    library.set_video_r2_key(id, Some(&uploaded.key))?;
    videos::record_job_status(library, id, JobStatus::Pending)?;
    let waiting = JobUpdate {
        status: Some(JobStatus::Pending),
        r2_video_key: Some(uploaded.key.clone()),
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
