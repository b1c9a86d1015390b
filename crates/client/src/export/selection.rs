//! Finding the detections that the user names: by a job's id or a video's number.

use store::{ImportRow, Library, Video};

use super::info::ExportInfo;
use crate::failure::{Failure, Kind, Outcome};
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

/// Finds the detections that `name` stands for: a job's id, or a video's number. For a video, `job` chooses among
/// its imported jobs; without it, the latest import is used.
///
/// # Errors
/// If the library has no such job, video or detections.
pub fn select(library: &Library, name: &str, job: Option<&str>) -> Outcome<(Selection, Video, ExportInfo)> {
    let (video, import) = match name.parse::<i64>() {
        Ok(id) => select_video(library, id, job)?,
        Err(_) if job.is_some_and(|job| job != name) => {
            let message = format!("{name} is already a job, but --job names another");
            return Err(Failure::msg(Kind::Failed, message).hint("omit --job, or give a video's number"));
        }
        Err(_) => select_job(library, name)?,
    };
    let info = ExportInfo::new(library, &video, import.as_ref())?;
    let selection = match import {
        Some(import) => Selection::Job(import.job_id),
        None => Selection::Video(video.id),
    };
    Ok((selection, video, info))
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
            "video {id} has {n_imports} imported jobs; exporting the latest, {job} (choose with --job)"
        ));
    }
    Ok((video, Some(import)))
}
