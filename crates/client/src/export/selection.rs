//! Finding the detections that the user names: by a job, or by a video's number or file name.

use store::{ImportRow, Library, Video};

use super::info::ExportInfo;
use crate::failure::{Failure, Kind, Outcome};
use crate::job_name::resolve_in_library;
use crate::terminal::notify;
use crate::videos;

/// The detections of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All detections of a video without imported jobs: another program wrote them.
    Video(i64),
    /// The detections of one job.
    Job(String),
}

/// The library has this job, but not its detections.
#[derive(Debug, thiserror::Error)]
#[error("job {0} is not imported yet")]
pub struct NotImported(pub String);

/// The library has this video, but no detections of it.
#[derive(Debug, thiserror::Error)]
#[error("video {0} has no detections in the library")]
pub struct NoDetections(pub i64);

/// The library does not have this job.
#[derive(Debug, thiserror::Error)]
#[error("the library has no job {0}")]
pub struct NoJob(pub String);

/// The detections of an export, their video, and what formats need to know about both.
pub type Selected = (Selection, Video, ExportInfo);

/// Finds the detections that `name` stands for: a job (its id, the beginning of it, or `@latest`), or a video (its
/// number or file name). For a video, `job` chooses among its imported jobs; without it, the latest import is used.
///
/// # Errors
/// If the library has no such job, video or detections.
pub fn select(library: &Library, name: &str, job: Option<&str>) -> Outcome<Selected> {
    let found = match find_video(library, name)? {
        Some(id) => Named::Video(id),
        None => Named::Job(resolve_in_library(library, name)?.unwrap_or_else(|| name.to_owned())),
    };
    let job = job.map(|job| Ok::<_, Failure>(resolve_in_library(library, job)?.unwrap_or(job.to_owned())));
    let job = job.transpose()?;
    match found {
        Named::Video(id) => {
            if job.is_none() {
                announce_choice(library, id)?;
            }
            select_of_video(library, id, job.as_deref())
        }
        Named::Job(id) if job.as_ref().is_some_and(|job| *job != id) => {
            let message = format!("{name} is already a job, but --job names another");
            Err(Failure::msg(Kind::Failed, message).hint("omit --job, or give a video's number"))
        }
        Named::Job(id) => select_of_job(library, &id),
    }
}

/// The detections of a video: those of `job`, the complete id of one of its imported jobs, or else of the latest import.
///
/// # Errors
/// If the library has no such video, the video no such imported job, or no detections.
pub fn select_of_video(library: &Library, id: i64, job: Option<&str>) -> Outcome<Selected> {
    let (video, import) = select_video(library, id, job)?;
    selected(library, video, import)
}

/// The detections of a job, named by its complete id.
///
/// # Errors
/// If the library has no such imported job.
pub fn select_of_job(library: &Library, id: &str) -> Outcome<Selected> {
    let (video, import) = select_job(library, id)?;
    selected(library, video, import)
}

fn selected(library: &Library, video: Video, import: Option<ImportRow>) -> Outcome<Selected> {
    let info = ExportInfo::new(library, &video, import.as_ref())?;
    let selection = match import {
        Some(import) => Selection::Job(import.job_id),
        None => Selection::Video(video.id),
    };
    Ok((selection, video, info))
}

enum Named {
    Video(i64),
    Job(String),
}

/// The video with this number or file name; `None` if the library has no such video, or the name is one of a job.
///
/// # Errors
/// If several videos have this file name.
pub fn find_video(library: &Library, name: &str) -> Outcome<Option<i64>> {
    let number = name.parse::<i64>().ok();
    if let Some(number) = number
        && (library.video(number)?.is_some() || resolve_in_library(library, name)?.is_none())
    {
        return Ok(Some(number));
    }
    let found = videos::named(library, name)?;
    match &found[..] {
        [] => Ok(None),
        [video] => Ok(Some(video.id)),
        several => {
            let ids: Vec<String> = several.iter().map(|video| video.id.to_string()).collect();
            let message = format!("{name} is the file name of the videos {}", ids.join(", "));
            Err(Failure::msg(Kind::Failed, message).hint("give the number of the video"))
        }
    }
}

fn select_job(library: &Library, id: &str) -> Outcome<(Video, Option<ImportRow>)> {
    if let Some(import) = library.import_of(id)? {
        return Ok((videos::find(library, import.video_id)?, Some(import)));
    }
    Err(match library.job(id)? {
        Some(_) => Failure::new(Kind::Failed, NotImported(id.to_owned()))
            .hint(format!("run `courtside import --job-id {id}`")),
        None => Failure::new(Kind::Failed, NoJob(id.to_owned()))
            .hint("name an imported job or a video's number; run `courtside status` to list the jobs"),
    })
}

fn select_video(library: &Library, id: i64, job: Option<&str>) -> Outcome<(Video, Option<ImportRow>)> {
    let video = videos::find(library, id)?;
    let imports = library.imports(id)?;
    let Some(job) = job else {
        return select_latest(library, video);
    };
    let n_imports = imports.len();
    match imports.into_iter().find(|import| import.job_id == job) {
        Some(import) => Ok((video, Some(import))),
        None => {
            let message = format!("{job} is not one of the {n_imports} imported jobs of video {id}");
            Err(Failure::msg(Kind::Failed, message).hint("run `courtside status` to list the jobs"))
        }
    }
}

fn select_latest(library: &Library, video: Video) -> Outcome<(Video, Option<ImportRow>)> {
    let id = video.id;
    let scope = store::DetectionScope::Video(id);
    let import = library.import_in(scope)?;
    if import.is_none() && library.detection_totals(scope)?.total_detections == 0 {
        return Err(Failure::new(Kind::Failed, NoDetections(id))
            .hint("run `courtside import --all` to import the results of completed jobs"));
    }
    Ok((video, import))
}

/// Tells the user which of several imported jobs is used.
fn announce_choice(library: &Library, id: i64) -> Outcome<()> {
    let n_imports = library.imports(id)?.len();
    if let Some(import) = library.import_in(store::DetectionScope::Video(id))?.filter(|_| n_imports > 1) {
        let job = &import.job_id;
        notify(format!(
            "video {id} has {n_imports} imported jobs; using the latest, {job} (choose with --job)"
        ));
    }
    Ok(())
}
