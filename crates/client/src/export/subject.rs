//! What an export is about: which job's detections of which video, and what formats want to know of both.

use std::path::Path;

use jobs::manifest::Parameters;
use store::{ImportRow, Library, Video};

use crate::failure::{Failure, Kind, Outcome};
use crate::terminal::notify;
use crate::videos;

/// Whose detections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// All of a video that has no imported job: those that another program wrote.
    Video(i64),
    /// Those of a job.
    Job(String),
}

/// What the detections are of.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// The job; `None` for detections of another program.
    pub job_id: Option<String>,
    /// The video's file, without its folder.
    pub video_name: String,
    /// Average frames per second.
    pub fps: Option<f64>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Frames of the video.
    pub n_frames: Option<i64>,
    /// What was tracked.
    pub prompts: Vec<String>,
    /// Every so many frames one was tracked, from 0.
    pub every: usize,
    /// The frame before which tracking ended, where it is certain that every one was tracked up to there.
    pub tracked_until: Option<u64>,
}

impl Subject {
    /// When a frame is shown, in seconds to the microsecond: by the average frame rate, whatever the file's own
    /// timestamps are. `None` where the rate is unknown.
    pub fn time_seconds(&self, frame: i64) -> Option<f64> {
        let fps = self.fps.filter(|fps| *fps > 0.0)?;
        Some((frame as f64 / fps * 1e6).round() / 1e6)
    }

    fn new(library: &Library, video: &Video, import: Option<&ImportRow>) -> Outcome<Self> {
        let row = import.map(|import| library.job(&import.job_id)).transpose()?.flatten();
        // Parameters that we cannot read are those of another program.
        let parameters: Parameters =
            row.and_then(|row| serde_json::from_value(row.parameters?).ok()).unwrap_or_default();
        Ok(Self {
            job_id: import.map(|import| import.job_id.clone()),
            video_name: name_of(video),
            fps: video.fps.filter(|fps| fps.is_finite() && *fps > 0.0),
            size: video.resolution.as_deref().and_then(size),
            n_frames: video.n_frames.filter(|n| *n > 0),
            prompts: vec![parameters.prompt_or_default().to_owned()],
            every: usize::try_from(parameters.sample_interval).unwrap_or(usize::MAX).max(1),
            tracked_until: import.and_then(|import| tracked_until(video, import, &parameters)),
        })
    }
}

/// The frame before which a job ended, if it did all that was asked for.
fn tracked_until(video: &Video, import: &ImportRow, parameters: &Parameters) -> Option<u64> {
    let n_frames = u64::try_from(video.n_frames?).ok()?;
    let fps = video.fps.unwrap_or(0.0);
    let asked_for = parameters.n_tracked_frames(n_frames, fps);
    let done = u64::try_from(import.frames_processed?).ok()?;
    (done == asked_for).then(|| parameters.end_frame(n_frames, fps))
}

/// The file's name alone.
fn name_of(video: &Video) -> String {
    let name = Path::new(&video.file_path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| format!("video-{}", video.id))
}

/// `1920x1080`.
fn size(resolution: &str) -> Option<(u32, u32)> {
    let (width, height) = resolution.split_once('x')?;
    Some((width.trim().parse().ok()?, height.trim().parse().ok()?))
}

/// Finds what a person asks for: a job's id, or a video's number, of whose jobs the one imported last is taken if
/// `job` names none.
///
/// # Errors
/// Naming what is not there, and the command that helps.
pub fn select(library: &Library, what: &str, job: Option<&str>) -> Outcome<(Selected, Video, Subject)> {
    let (video, import) = match what.parse::<i64>() {
        Ok(id) => of_video(library, id, job)?,
        Err(_) if job.is_some_and(|job| job != what) => {
            let message = format!("{what} is a job already, and --job names another");
            return Err(Failure::msg(Kind::Failed, message).hint("leave --job out, or name a video's number"));
        }
        Err(_) => of_job(library, what)?,
    };
    let subject = Subject::new(library, &video, import.as_ref())?;
    let selected = match import {
        Some(import) => Selected::Job(import.job_id),
        None => Selected::Video(video.id),
    };
    Ok((selected, video, subject))
}

fn of_job(library: &Library, id: &str) -> Outcome<(Video, Option<ImportRow>)> {
    if let Some(import) = library.import_of(id)? {
        return Ok((videos::known(library, import.video_id)?, Some(import)));
    }
    Err(match library.job(id)? {
        Some(_) => Failure::msg(Kind::Failed, format!("job {id} is not imported yet"))
            .hint(format!("`courtside import --job-id {id}`")),
        None => Failure::msg(Kind::Failed, format!("the library has no job {id}"))
            .hint("name a job that was imported, or a video's number; `courtside status` lists the jobs"),
    })
}

fn of_video(library: &Library, id: i64, job: Option<&str>) -> Outcome<(Video, Option<ImportRow>)> {
    let video = videos::known(library, id)?;
    let imports = library.imports(id)?;
    let Some(job) = job else {
        return latest(library, video, imports);
    };
    let n_imports = imports.len();
    match imports.into_iter().find(|import| import.job_id == job) {
        Some(import) => Ok((video, Some(import))),
        None => {
            let message = format!("video {id} has {n_imports} imported jobs, and {job} is none of them");
            Err(Failure::msg(Kind::Failed, message).hint("`courtside status` lists the jobs"))
        }
    }
}

fn latest(library: &Library, video: Video, imports: Vec<ImportRow>) -> Outcome<(Video, Option<ImportRow>)> {
    let id = video.id;
    let n_imports = imports.len();
    let Some(import) = imports.into_iter().next() else {
        let totals = library.detection_totals(id, &store::DetectionQuery::default())?;
        if totals.total_detections > 0 {
            return Ok((video, None));
        }
        return Err(Failure::msg(Kind::Failed, format!("video {id} has no detections in the library"))
            .hint("`courtside import --all` brings the results of completed jobs"));
    };
    if n_imports > 1 {
        let job = &import.job_id;
        notify(format!(
            "video {id} has {n_imports} imported jobs; this is the latest, {job} (--job names another)"
        ));
    }
    Ok((video, Some(import)))
}
