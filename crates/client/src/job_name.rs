//! Finding the job that the user names: by its id, by the beginning of its id, as `@latest`, or by the file name of its
//! video.

use std::collections::BTreeMap;
use std::path::Path;

use jobs::JobId;
use jobs::catalog::Catalog;
use jobs::manifest::Manifest;
use store::{JobFilter, JobRow, Library};
use time::OffsetDateTime;

use crate::failure::{Failure, Kind, Outcome};
use crate::overview::Closed;
use crate::{Client, LIST_JOBS, is_unknown_job, parse_job_id};

/// The name of the job that was submitted last.
pub const LATEST: &str = "@latest";
/// Candidates that an ambiguous name shows.
const MAX_SHOWN: usize = 8;

/// A job that a name may stand for.
#[derive(Debug, Clone)]
struct Candidate {
    id: String,
    /// File name of its video, if known.
    video: Option<String>,
    created_at: Option<OffsetDateTime>,
    status: String,
    /// Whether the user removed it. Then only its id, or the beginning of it, names it.
    is_removed: bool,
}

/// Finds a job in the library and in the buckets. A complete id needs no request if the library has the job.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause if no job has this name. If several have it, the error lists them.
pub async fn resolve_job(client: &Client, library: &Library, name: &str) -> Outcome<JobId> {
    let mut candidates = of_library(library)?;
    if name == LATEST && !matching(&candidates, name).is_empty() {
        return parse_job_id(&chosen(name, &candidates)?);
    }
    let id = parse_job_id(name);
    if let Ok(id) = &id
        && (library.job(name)?.is_some() || library.import_of(name)?.is_some() || exists(client, id).await?)
    {
        return Ok(id.clone());
    }
    let mut unavailable = None;
    for target in client.bucket_targets() {
        let mut catalog = Catalog::new(client.bucket(target)?, client.env.clone());
        match catalog.refresh().await {
            Ok(()) => catalog.jobs().for_each(|entry| add(&mut candidates, &entry.manifest)),
            Err(error) => unavailable = Some(error),
        }
    }
    match (matching(&candidates, name).is_empty(), id, unavailable) {
        (true, _, Some(error)) => Err(error.into()),
        (true, Ok(id), None) => Err(unknown(id)),
        (true, Err(invalid), None) if name != LATEST => Err(invalid),
        _ => parse_job_id(&chosen(name, &candidates)?),
    }
}

/// Finds a job of the library by its id, the beginning of it, or as `@latest`. `None` if there is none.
///
/// # Errors
/// If several jobs have this name; the error lists them.
pub(crate) fn resolve_in_library(library: &Library, name: &str) -> Outcome<Option<String>> {
    let candidates = of_library(library)?;
    match matching(&candidates, name).is_empty() {
        true => Ok(None),
        false => chosen(name, &candidates).map(Some),
    }
}

/// Whether a bucket has the job, readable or not.
async fn exists(client: &Client, id: &JobId) -> Outcome<bool> {
    match client.find_job(id).await {
        Ok(_) => Ok(true),
        Err(failure) if is_unknown_job(&failure) => Ok(false),
        Err(failure) if matches!(failure.cause(), Some(jobs::Error::Unreadable { .. })) => Ok(true),
        // Another bucket, or the library, may know a job of which this is the beginning.
        Err(failure) if failure.is_transient() => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn unknown(id: JobId) -> Failure {
    Failure::new(Kind::Failed, jobs::Error::NoJob { id }).hint(LIST_JOBS)
}

/// The jobs of the library, newest first.
fn of_library(library: &Library) -> Outcome<BTreeMap<String, Candidate>> {
    let mut names: BTreeMap<i64, Option<String>> = BTreeMap::new();
    let mut candidates = BTreeMap::new();
    for row in library.jobs(&JobFilter::default())? {
        let is_removed = Closed::of(&row) == Some(Closed::RemovedByUser);
        let JobRow { id, video_id, created_at, status, .. } = row;
        let video = match video_id {
            Some(video_id) if !names.contains_key(&video_id) => {
                let path = library.video(video_id)?.map(|video| video.file_path);
                let name = path.as_deref().and_then(file_name).map(str::to_owned);
                names.entry(video_id).or_insert(name).clone()
            }
            Some(video_id) => names.get(&video_id).cloned().flatten(),
            None => None,
        };
        let status = status.as_str().to_lowercase();
        candidates.insert(id.clone(), Candidate { id, video, created_at, status, is_removed });
    }
    Ok(candidates)
}

fn add(candidates: &mut BTreeMap<String, Candidate>, manifest: &Manifest) {
    let id = manifest.job_id.to_string();
    let name = manifest.video.as_ref().and_then(|video| video.name.clone());
    let known = candidates.entry(id.clone()).or_insert(Candidate {
        id,
        video: None,
        created_at: Some(manifest.created_at.moment()),
        status: String::new(),
        is_removed: false,
    });
    known.status = manifest.status.to_string();
    known.video = known.video.take().or(name);
}

fn file_name(path: &str) -> Option<&str> {
    Path::new(path).file_name()?.to_str()
}

/// The jobs that a name stands for, the newest first.
fn matching<'a>(candidates: &'a BTreeMap<String, Candidate>, name: &str) -> Vec<&'a Candidate> {
    let mut found: Vec<&Candidate> = match candidates.get(name) {
        Some(exact) => vec![exact],
        None => {
            let video = file_name(name);
            let fits = |job: &&Candidate| {
                (!name.is_empty() && job.id.starts_with(name))
                    || (!job.is_removed
                        && (name == LATEST || (video.is_some() && job.video.as_deref() == video)))
            };
            candidates.values().filter(fits).collect()
        }
    };
    found.sort_by(|a, b| (b.created_at, &a.id).cmp(&(a.created_at, &b.id)));
    if name == LATEST {
        found.truncate(1);
    }
    found
}

/// The id of the one job that a name stands for.
fn chosen(name: &str, candidates: &BTreeMap<String, Candidate>) -> Outcome<String> {
    match &matching(candidates, name)[..] {
        [] => Err(Failure::msg(Kind::Failed, "there is no job yet")
            .hint("submit a video with `courtside submit FILE`")),
        [job] => Ok(job.id.clone()),
        several => {
            let shown = several.iter().take(MAX_SHOWN).map(|job| {
                let video = job.video.as_deref().unwrap_or("unknown video");
                format!("\n    {} ({video}, {})", job.id, job.status)
            });
            let more = several.len().saturating_sub(MAX_SHOWN);
            let more = if more > 0 { format!("\n    and {more} more") } else { String::new() };
            let list = shown.collect::<String>();
            let message = format!("{name:?} may be any of {} jobs:{list}{more}", several.len());
            Err(Failure::msg(Kind::Failed, message).hint("give more of the id, or all of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates() -> BTreeMap<String, Candidate> {
        let job = |id: &str, video: &str, seconds: i64| {
            let created_at = OffsetDateTime::from_unix_timestamp(seconds).ok();
            let (id, video) = (id.to_owned(), Some(video.to_owned()));
            let status = "pending".to_owned();
            (id.clone(), Candidate { id, video, created_at, status, is_removed: false })
        };
        [job("ab12", "first.mp4", 3), job("ab", "second.mp4", 1), job("ac34", "first.mp4", 2)].into()
    }

    #[test]
    fn a_job_is_named_by_the_beginning_of_its_id_its_video_or_as_the_latest() {
        for (name, id) in [
            ("ab1", "ab12"),
            ("ac", "ac34"),
            ("ac34", "ac34"),
            // A complete id is no beginning of another one.
            ("ab", "ab"),
            ("second.mp4", "ab"),
            ("../games/second.mp4", "ab"),
            (LATEST, "ab12"),
        ] {
            assert_eq!(chosen(name, &candidates()).unwrap(), id, "{name}");
        }
        for name in ["b", "", "AB12", "third.mp4", "second"] {
            assert!(matching(&candidates(), name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_removed_job_is_named_by_its_id_only() {
        let mut jobs = candidates();
        jobs.get_mut("ab12").unwrap().is_removed = true;
        for (name, id) in [(LATEST, "ac34"), ("first.mp4", "ac34"), ("ab1", "ab12")] {
            assert_eq!(chosen(name, &jobs).unwrap(), id, "{name}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_the_jobs() {
        for (name, ids) in [("a", &["ab12", "ac34", "ab"][..]), ("first.mp4", &["ab12", "ac34"])] {
            let failure = chosen(name, &candidates()).unwrap_err();
            let lines: Vec<String> = failure.message().lines().skip(1).map(str::to_owned).collect();
            let expected = |line: &String, id: &str| line.trim().starts_with(&format!("{id} ("));
            assert!(
                lines.len() == ids.len() && lines.iter().zip(ids).all(|(l, id)| expected(l, id)),
                "{failure}"
            );
        }
    }
}
