//! How every job stands, in the words that people use: from the registers, and from the library for jobs that
//! are in no bucket yet. What is learned is noted in the library, for programs that look only there.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use jobs::bucket::Bucket;
use jobs::catalog::Catalog;
use jobs::manifest::{Heartbeat, Manifest, Stage, Status, Target};
use jobs::status;
use serde::Serialize;
use store::{JobFilter, JobRow, JobStatus, JobUpdate, Library};
use time::OffsetDateTime;

use super::submit::UPLOADING;
use super::{Client, submit, videos};
use crate::failure::{Failure, Outcome};

/// Silence after which an owner seems to be in trouble. For people only; workers judge by their own clocks.
const SILENT: Duration = Duration::from_secs(90);

/// What a job is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Its video is on the way to the bucket.
    Uploading,
    /// Nobody has it.
    Waiting,
    /// A worker gets the video.
    Downloading {
        /// Bytes.
        current: u64,
        /// Of so many.
        total: Option<u64>,
    },
    /// A worker prepares to track.
    Starting,
    /// A worker tracks.
    Tracking {
        /// Frames.
        current: u64,
        /// Of so many.
        total: Option<u64>,
        /// Frames per second.
        fps: Option<f64>,
    },
    /// A worker brings the results to the bucket.
    Publishing,
    /// Its worker has not spoken for a while; if it is dead, another takes over.
    Stalled {
        /// Frames done.
        current: u64,
        /// Of so many.
        total: Option<u64>,
        /// Seconds of silence.
        silent_seconds: u64,
    },
    /// Results are in the bucket.
    ReadyToImport,
    /// Results are in the library.
    Imported {
        /// How many, if the register says.
        detections: Option<u64>,
    },
    /// It was given up.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

/// A job as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// The job.
    pub job_id: String,
    /// The video's number.
    pub video_id: i64,
    /// The video's name.
    pub video: Option<String>,
    /// Where it runs.
    pub target: Target,
    /// The register's word; `uploading` before there is one.
    pub status: String,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Why it failed, or why its last attempt did.
    pub error: Option<String>,
    /// Attempts so far.
    pub attempt: u32,
    /// Who has it.
    pub worker_id: Option<String>,
    /// Frames done.
    pub frames_processed: Option<u64>,
    /// When it was submitted.
    pub created_at: Option<String>,
    /// When the present or last attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// What there is.
#[derive(Debug, Default, Serialize)]
pub struct Overview {
    /// Jobs, the oldest first.
    pub jobs: Vec<JobView>,
    /// Registers that cannot be understood.
    pub unreadable: Vec<String>,
    /// Buckets that did not answer: their jobs are as they were seen before, if they were.
    #[serde(serialize_with = "message")]
    pub trouble: Vec<Failure>,
}

fn message<S: serde::Serializer>(trouble: &[Failure], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(trouble.iter().map(Failure::message))
}

/// Looks again and again, and reads only what changed.
pub struct Watcher<'a> {
    client: &'a Client,
    catalogs: Vec<(Target, Catalog)>,
}

impl<'a> Watcher<'a> {
    /// Over all buckets of a client.
    pub fn new(client: &'a Client) -> Outcome<Self> {
        let catalog = |target| Ok((target, Catalog::new(client.bucket(target)?, client.env.clone())));
        let catalogs = client.places().into_iter().map(catalog).collect::<Outcome<_>>()?;
        Ok(Self { client, catalogs })
    }

    /// Looks once, and notes what is new in the library.
    pub async fn look(&mut self, library: &mut Library) -> Outcome<Overview> {
        let mut overview = Overview::default();
        let mut seen = HashSet::new();
        let now = self.client.env.utc();
        for (target, catalog) in &mut self.catalogs {
            if let Err(error) = catalog.refresh().await {
                overview.trouble.push(error.into());
            }
            let bucket = self.client.bucket(*target)?;
            for sighting in catalog.jobs() {
                seen.insert(sighting.manifest.job_id.to_string());
                let manifest = with_progress(&*bucket, Cow::Borrowed(&sighting.manifest)).await;
                overview.jobs.push(view(&manifest, *target, now));
            }
            let named = catalog.unreadable().into_iter().map(ToString::to_string);
            overview.unreadable.extend(named);
            note(library, |id| catalog.job(id).map(|seen| &seen.manifest))?;
        }
        let uploads =
            JobFilter { statuses: &[JobStatus::Pending, JobStatus::Failed], ..JobFilter::default() };
        for row in library.jobs(&uploads)?.into_iter().filter(|row| !seen.contains(&row.id)) {
            if row.status == JobStatus::Pending && row.progress_message.as_deref() == Some(UPLOADING) {
                overview.jobs.push(not_yet_there(&row, UPLOADING, State::Uploading));
            } else if submit::has_failed_to_upload(&row) {
                overview.jobs.push(not_yet_there(&row, "failed", State::Failed));
            }
        }
        overview.jobs.sort_by(|a, b| (&a.created_at, &a.job_id).cmp(&(&b.created_at, &b.job_id)));
        Ok(overview)
    }
}

/// A job as its register says.
pub fn view(manifest: &Manifest, place: Target, now: OffsetDateTime) -> JobView {
    JobView {
        job_id: manifest.job_id.to_string(),
        video_id: manifest.video_id,
        video: manifest.video.as_ref().and_then(|v| v.name.clone()),
        target: manifest.target.unwrap_or(place),
        status: manifest.status.to_string(),
        state: state(manifest, now),
        error: manifest.error.clone(),
        attempt: manifest.attempt,
        worker_id: manifest.worker_id.clone(),
        frames_processed: manifest.frames_processed,
        created_at: Some(manifest.created_at.as_str().to_owned()),
        started_at: manifest.started_at.as_ref().map(|t| t.as_str().to_owned()),
        completed_at: manifest.completed_at.as_ref().map(|t| t.as_str().to_owned()),
    }
}

fn state(manifest: &Manifest, now: OffsetDateTime) -> State {
    match manifest.status {
        Status::Pending => State::Waiting,
        Status::Processing => processing(manifest, now),
        Status::Completed => State::ReadyToImport,
        Status::Imported => State::Imported { detections: manifest.result.as_ref().map(|r| r.detections) },
        Status::Failed => State::Failed,
        Status::Cancelled => State::Cancelled,
    }
}

fn processing(manifest: &Manifest, now: OffsetDateTime) -> State {
    let heartbeat = manifest.heartbeat.clone().unwrap_or_else(|| Heartbeat {
        stage: Stage::Tracking,
        current: manifest.frames_processed.unwrap_or(0),
        total: n_frames(manifest),
        ..Heartbeat::default()
    });
    let Heartbeat { stage, current, total, fps, .. } = heartbeat;
    let silence = manifest.last_heartbeat.as_ref().map(|at| now - at.moment());
    match silence.and_then(|s| Duration::try_from(s).ok()).filter(|&s| s > SILENT && !manifest.is_foreign()) {
        Some(silence) => {
            let current = manifest.frames_processed.unwrap_or(0);
            State::Stalled { current, total: n_frames(manifest), silent_seconds: silence.as_secs() }
        }
        None => match stage {
            Stage::Tracking => State::Tracking { current, total: total.or(n_frames(manifest)), fps },
            Stage::Publishing => State::Publishing,
            Stage::Starting => State::Starting,
            Stage::Claimed | Stage::Downloading | Stage::Other(_) => State::Downloading { current, total },
        },
    }
}

/// Frames that a job tracks, where its register tells.
pub fn n_frames(manifest: &Manifest) -> Option<u64> {
    let video = manifest.video.as_ref()?;
    Some(manifest.parameters.n_tracked_frames(video.n_frames?, video.fps.unwrap_or(0.0)))
}

/// A register of a worker that gives its signs of life in the status object alone, with what that says.
pub async fn with_progress<'a>(bucket: &dyn Bucket, manifest: Cow<'a, Manifest>) -> Cow<'a, Manifest> {
    if !manifest.is_foreign() || manifest.heartbeat.is_some() {
        return manifest;
    }
    // Without it, the register is all there is.
    let Ok(Some(status)) = status::read(bucket, &manifest.job_id).await else { return manifest };
    let mut manifest = manifest.into_owned();
    let known = manifest.frames_processed.unwrap_or(0);
    let current = u64::try_from(status.current).unwrap_or(0).max(known);
    let total = u64::try_from(status.total).ok().filter(|&total| total > 0);
    manifest.frames_processed = Some(current);
    manifest.heartbeat =
        Some(Heartbeat { stage: Stage::Tracking, current, total, fps: status.fps, ..Heartbeat::default() });
    Cow::Owned(manifest)
}

/// A job that is in no bucket.
fn not_yet_there(row: &JobRow, status: &str, state: State) -> JobView {
    let time = |at: Option<OffsetDateTime>| at.map(|t| jobs::manifest::Timestamp::of(t).as_str().to_owned());
    JobView {
        job_id: row.id.clone(),
        video_id: row.video_id.unwrap_or_default(),
        video: None,
        target: if row.target == Some(store::Target::Cloud) { Target::Cloud } else { Target::Local },
        status: status.to_owned(),
        state,
        error: row.error.clone(),
        attempt: 0,
        worker_id: None,
        frames_processed: None,
        created_at: time(row.created_at),
        started_at: None,
        completed_at: None,
    }
}

/// The library's status of a register's.
pub fn job_status(status: Status) -> JobStatus {
    match status {
        Status::Pending => JobStatus::Pending,
        Status::Processing => JobStatus::Processing,
        Status::Completed | Status::Imported => JobStatus::Completed,
        Status::Failed => JobStatus::Failed,
        Status::Cancelled => JobStatus::Cancelled,
    }
}

/// The manifest's status for one of the library, which has no `imported`.
pub(crate) fn manifest_status(status: JobStatus) -> Status {
    match status {
        JobStatus::Pending => Status::Pending,
        JobStatus::Processing => Status::Processing,
        JobStatus::Completed => Status::Completed,
        JobStatus::Failed => Status::Failed,
        JobStatus::Cancelled => Status::Cancelled,
    }
}

/// Notes in the library how its jobs stand in the bucket.
pub fn note<'a>(library: &mut Library, seen: impl Fn(&jobs::JobId) -> Option<&'a Manifest>) -> Outcome<()> {
    let rows = library.jobs(&JobFilter::default())?;
    for row in rows {
        let Ok(id) = jobs::JobId::new(row.id.clone()) else { continue };
        let Some(manifest) = seen(&id) else { continue };
        let update = update_of(manifest);
        let known = (row.status, row.progress_current, row.error.as_deref());
        let current = update.progress_current.unwrap_or(row.progress_current);
        let is_news = known != (job_status(manifest.status), current, manifest.error.as_deref());
        if is_news && !row.imported {
            library.update_job(&row.id, &update)?;
            if let Some(video_id) = row.video_id {
                videos::note_processing(library, video_id, job_status(manifest.status))?;
            }
        }
    }
    Ok(())
}

fn update_of(manifest: &Manifest) -> JobUpdate {
    let moment = |t: &jobs::manifest::Timestamp| t.moment();
    JobUpdate {
        status: Some(job_status(manifest.status)),
        progress_current: manifest.frames_processed.map(|n| n as i64),
        progress_total: n_frames(manifest).map(|n| n as i64),
        progress_message: Some(state(manifest, OffsetDateTime::UNIX_EPOCH).to_string()),
        error: manifest.error.clone(),
        started_at: manifest.started_at.as_ref().map(moment),
        completed_at: manifest.completed_at.as_ref().map(moment),
        worker_id: manifest.worker_id.clone(),
        r2_video_key: None,
        result: None,
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uploading => f.write_str(UPLOADING),
            Self::Waiting => f.write_str(submit::WAITING),
            Self::Downloading { current, total: Some(total) } if *total > 0 => {
                write!(f, "downloading {}%", current * 100 / total)
            }
            Self::Downloading { .. } => f.write_str("downloading"),
            Self::Starting => f.write_str("starting"),
            Self::Tracking { current, total, fps } => {
                write!(f, "{} frames", of(*current, *total))?;
                let Some(fps) = fps.filter(|&fps| fps > 0.0) else { return Ok(()) };
                write!(f, ", {fps:.1} fps")?;
                let left = total.map_or(0.0, |total| total.saturating_sub(*current) as f64 / fps);
                // No sane register makes it longer than any job.
                let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
                write!(f, ", {} left", crate::progress::clock(left))
            }
            Self::Publishing => f.write_str("uploading results"),
            Self::Stalled { current, total, silent_seconds } => {
                let silence = crate::progress::clock(Duration::from_secs(*silent_seconds));
                write!(f, "{} frames, stalled: no sign of life for {silence}", of(*current, *total))
            }
            Self::ReadyToImport => f.write_str("ready to import"),
            Self::Imported { detections: Some(n) } => write!(f, "{n} detections"),
            Self::Imported { detections: None } => f.write_str("in the library"),
            Self::Failed => f.write_str("failed"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

fn of(current: u64, total: Option<u64>) -> String {
    total.map_or_else(|| format!("{current}/?"), |total| format!("{current}/{total}"))
}
