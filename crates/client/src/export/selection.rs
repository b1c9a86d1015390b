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

/// Finds the detections that `name` stands for: a job (its id, the beginning of it, or `@latest`), or a video (its
/// number or file name). For a video, `job` chooses among its imported jobs; without it, the latest import is used.
///
/// # Errors
/// If the library has no such job, video or detections.
pub fn select(library: &Library, name: &str, job: Option<&str>) -> Outcome<(Selection, Video, ExportInfo)> {
    let found = match find_video(library, name)? {
        Some(id) => Named::Video(id),
        None => Named::Job(resolve_in_library(library, name)?.unwrap_or_else(|| name.to_owned())),
    };
    let job = job.map(|job| Ok::<_, Failure>(resolve_in_library(library, job)?.unwrap_or(job.to_owned())));
    let job = job.transpose()?;
    let (video, import) = match found {
        Named::Video(id) => select_video(library, id, job.as_deref())?,
        Named::Job(id) if job.as_ref().is_some_and(|job| *job != id) => {
            let message = format!("{name} is already a job, but --job names another");
            return Err(Failure::msg(Kind::Failed, message).hint("omit --job, or give a video's number"));
        }
        Named::Job(id) => select_job(library, &id)?,
    };
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

/// The video with this number or file name; `None` if there is none, or the name is one of a job.
fn find_video(library: &Library, name: &str) -> Outcome<Option<i64>> {
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
        Some(_) => Failure::msg(Kind::Failed, format!("job {id} is not imported yet"))
            .hint(format!("run `courtside import --job-id {id}`")),
        None => Failure::msg(Kind::Failed, format!("the library has no job {id}"))
            .hint("name an imported job or a video's number; run `courtside status` to list the jobs"),
    })
}

fn select_video(library: &Library, id: i64, job: Option<&str>) -> Outcome<(Video, Option<ImportRow>)> {
    let video = videos::find(library, id)?;
    let imports = library.imports(id)?;
    let Some(job) = job else {
        return select_latest(library, video, imports);
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

fn select_latest(
    library: &Library,
    video: Video,
    imports: Vec<ImportRow>,
) -> Outcome<(Video, Option<ImportRow>)> {
    let (id, n_imports) = (video.id, imports.len());
    let scope = store::DetectionScope::Video(id);
    let Some(import) = library.import_in(scope)? else {
        if library.detection_totals(scope)?.total_detections > 0 {
            return Ok((video, None));
        }
        return Err(Failure::msg(Kind::Failed, format!("video {id} has no detections in the library"))
            .hint("run `courtside import --all` to import the results of completed jobs"));
    };
    if n_imports > 1 {
        let job = &import.job_id;
        notify(format!(
            "video {id} has {n_imports} imported jobs; using the latest, {job} (choose with --job)"
        ));
    }
    Ok((video, Some(import)))
}
