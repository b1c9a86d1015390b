//! Results home: from a bucket into the library. Verified before anything is written, one transaction, and the
//! bucket keeps the results until the database has them on disk.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use jobs::admin::{Admin, is_importable};
use jobs::manifest::{Manifest, Status};
use jobs::results::{self, Expected, ReadError};
use jobs::transfer::{self, DownloadProgress, OnProgress};
use jobs::{JobId, catalog::Catalog};
use serde::Serialize;
use store::{Detection, ImportJob, ImportOutcome, JobUpdate, Library, Produced, Select};

use super::file_lock::FileLock;
use super::submit::store_target;
use super::{Client, changes};
use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};

/// Batches that wait for the database.
const BATCHES_AHEAD: usize = 8;

/// An import that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// The job.
    pub job_id: String,
    /// Its video.
    pub video_id: i64,
    /// Detections of the job in the library.
    pub detections: i64,
    /// Frames that the worker looked at.
    pub frames_processed: Option<i64>,
    /// Tracks of the job.
    pub tracks: i64,
    /// Whether the library had exactly these already.
    pub already: bool,
}

/// What to do beside importing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Remove the bucket's video afterwards.
    pub delete_video: bool,
    /// The video of this library, where the job was submitted from another one.
    pub into_video: Option<i64>,
}

/// What waits in the buckets.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Jobs with results, the oldest first.
    pub ids: Vec<JobId>,
    /// Registers that cannot be understood.
    pub unreadable: Vec<String>,
    /// Buckets that did not answer.
    pub trouble: Vec<Failure>,
}

/// Jobs whose results wait in the buckets that answer.
pub async fn waiting(client: &Client) -> Outcome<Waiting> {
    let mut waiting = Waiting::default();
    let mut found = Vec::new();
    for target in client.places() {
        let mut catalog = Catalog::new(client.bucket(target)?, client.env.clone());
        if let Err(error) = catalog.refresh().await {
            waiting.trouble.push(error.into());
            continue;
        }
        let importable = catalog.jobs().filter(|seen| is_importable(&seen.manifest));
        found.extend(importable.map(|s| (s.manifest.created_at.moment(), s.manifest.job_id.clone())));
        waiting.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
    }
    found.sort();
    waiting.ids = found.into_iter().map(|(_, id)| id).collect();
    Ok(waiting)
}

/// Imports the results of a job.
///
/// # Errors
/// If the job has none yet, they are not what the register says, or the library cannot take them. Nothing is
/// lost: results and register stay as they are.
pub async fn import(
    client: &Client,
    library: &mut Library,
    id: &JobId,
    options: Options,
    progress: OnProgress<'_>,
) -> Outcome<Imported> {
    let likely = changes::likely_place(client, library.job(id.as_str())?.as_ref());
    let (admin, manifest) = client.find_from(id, likely).await?;
    if !matches!(manifest.status, Status::Completed | Status::Imported) {
        let refusal = jobs::Refusal::NotImportable { status: manifest.status };
        let failure = Failure::new(Kind::Failed, jobs::Error::Refused { id: id.clone(), refusal });
        return Err(failure.hint("`courtside status` shows how far it is"));
    }
    let n_frames = check_video(library, &manifest, options)?;
    let file = results_file(client, id);
    let turn = FileLock::wait(&file).await?;
    let imported = match already(library, &manifest)? {
        Some(imported) => {
            // An import that was killed after its last word may have left it.
            let _ = std::fs::remove_file(&file);
            imported
        }
        None => fetch(&admin, library, &manifest, n_frames, &file, options, progress).await?,
    };
    drop(turn);
    admin.mark_imported(id).await?;
    if options.delete_video && admin.remove_video(&manifest).await? {
        forget_bucket_video(library, imported.video_id, &manifest)?;
    }
    Ok(imported)
}

/// Where a job's results lie on this machine while they are imported.
fn results_file(client: &Client, id: &JobId) -> PathBuf {
    client.settings.scratch().join("results").join(format!("{id}.json"))
}

/// Notes that a job's copy of a video is in no bucket any more; another job's copy may be.
pub fn forget_bucket_video(library: &mut Library, video_id: i64, manifest: &Manifest) -> Outcome<()> {
    match library.video(video_id)? {
        Some(video) if video.r2_key == Some(manifest.video_key()) => {
            Ok(library.set_video_r2_key(video_id, None)?)
        }
        _ => Ok(()),
    }
}

/// Whether the library has exactly the results that the register names.
fn already(library: &Library, manifest: &Manifest) -> Outcome<Option<Imported>> {
    let Some(row) = library.import_of(manifest.job_id.as_str())? else { return Ok(None) };
    let same = manifest.result.as_ref().is_some_and(|result| result.sha256 == row.sha256);
    if !same {
        return Ok(None);
    }
    let stats = library.detection_stats(Select::Job(&row.job_id))?;
    // Rows that somebody removed since are brought again.
    Ok((stats.total_detections == row.n_detections).then_some(Imported {
        job_id: row.job_id,
        video_id: row.video_id,
        detections: row.n_detections,
        frames_processed: row.frames_processed,
        tracks: stats.n_tracks,
        already: true,
    }))
}

/// The video must be the one that the job is about; returns its number of frames.
fn check_video(library: &Library, manifest: &Manifest, options: Options) -> Outcome<Option<u64>> {
    let id = options.into_video.unwrap_or(manifest.video_id);
    let submitted = manifest.video.clone().unwrap_or_default();
    let other = |what: String| {
        let hint = format!(
            "add the video here, then `courtside import --job-id {} --into-video N`",
            manifest.job_id
        );
        Failure::msg(Kind::Failed, format!("job {}: {what}", manifest.job_id)).hint(hint)
    };
    let Some(row) = library.video(id)? else {
        return Err(other(format!("this library has no video {id}; it was submitted from another one")));
    };
    let from_here = library.job(manifest.job_id.as_str())?.is_some();
    let size_differs =
        matches!((row.file.size_bytes, submitted.size_bytes), (Some(a), Some(b)) if a as u64 != b);
    if !from_here && size_differs {
        let name = submitted.name.unwrap_or_default();
        return Err(other(format!("it is about {name}, and video {id} here is {}", row.file_path)));
    }
    Ok(submitted.n_frames.or(row.n_frames.map(|n| n as u64)))
}

async fn fetch(
    admin: &Admin,
    library: &mut Library,
    manifest: &Manifest,
    n_frames: Option<u64>,
    file: &Path,
    options: Options,
    progress: OnProgress<'_>,
) -> Outcome<Imported> {
    let id = &manifest.job_id;
    let result = manifest.result.as_ref();
    let (size, sha256) = (result.map(|r| r.size_bytes), result.map(|r| r.sha256.as_str()));
    let arrival = |arrived: DownloadProgress<'_>| progress(arrived.n_bytes, arrived.size_bytes);
    let content = transfer::download(&**admin.bucket(), &id.results_key(), size, sha256, file, &arrival)
        .await
        .map_err(|e| Failure::from(e).context(format!("the results of job {id} cannot be imported")))?;
    let expected = Expected {
        video_id: Some(manifest.video_id),
        n_frames,
        size_bytes: Some(content.size_bytes),
        sha256: Some(content.sha256.clone()),
        n_detections: result.map(|r| r.detections),
        ..Expected::of_job(id.as_str())
    };
    let job = import_job(manifest, &content.sha256, options);
    let report = from_file(library, file, &job, &expected);
    // What was refused is fetched anew by the next import.
    let removed = std::fs::remove_file(file).map_err(|e| cannot("remove", file, e));
    let (report, n_tracks) = report?;
    removed?;
    let tracks = match n_tracks {
        Some(n_tracks) => n_tracks as i64,
        // Nothing was read.
        None => library.detection_stats(Select::Job(id.as_str()))?.n_tracks,
    };
    let imported = Imported {
        job_id: report.job_id,
        video_id: report.video_id,
        detections: report.n_detections,
        frames_processed: report.frames_processed,
        tracks,
        already: report.outcome == ImportOutcome::AlreadyImported,
    };
    library
        .update_job(id.as_str(), &JobUpdate { result: Some(result_of(&imported)), ..JobUpdate::default() })?;
    Ok(imported)
}

/// What the library's row of a job says of its results; the first four are the analyzer app's own words.
fn result_of(imported: &Imported) -> serde_json::Value {
    serde_json::json!({
        "video_id": imported.video_id,
        "detections": imported.detections,
        "total_detections": imported.detections,
        "frames_processed": imported.frames_processed,
        "tracks": imported.tracks,
    })
}

fn import_job(manifest: &Manifest, sha256: &str, options: Options) -> ImportJob {
    let video_id = options.into_video.unwrap_or(manifest.video_id);
    ImportJob {
        parameters: serde_json::to_value(&manifest.parameters).unwrap_or_default(),
        created_at: Some(manifest.created_at.moment()),
        started_at: manifest.started_at.as_ref().map(|t| t.moment()),
        worker_id: manifest.worker_id.clone(),
        target: manifest.target.map(store_target),
        r2_video_key: Some(manifest.video_key()),
        ..ImportJob::new(manifest.job_id.as_str(), video_id, sha256)
    }
}

/// Imports a results file of this machine: one thread reads, this one writes. Also gives the number of tracks, if
/// the file was read.
pub fn from_file(
    library: &mut Library,
    file: &Path,
    job: &ImportJob,
    expected: &Expected,
) -> Outcome<(store::ImportReport, Option<usize>)> {
    let input = File::open(file).map_err(|e| cannot("read", file, e))?;
    let (sender, batches) = mpsc::sync_channel::<Vec<Detection>>(BATCHES_AHEAD);
    let mut n_tracks = None;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read(BufReader::new(input), expected, &sender));
        let report = library.import(job, |sink| {
            for batch in batches {
                sink.push(&batch)?;
            }
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let (head, n_read) = read.map_err(|e| refused(e, &expected.job_id))?;
            n_tracks = Some(n_read);
            Ok(Produced {
                frames_processed: head.frames_processed.map(|n| n as i64),
                completed_at: head
                    .completed_at
                    .and_then(|text| jobs::manifest::Timestamp::parse(&text))
                    .map(|t| t.moment()),
            })
        });
        report.map(|report| (report, n_tracks))
    })
}

/// Results that are not imported. They stay in the bucket, also where they are worth nothing: somebody may want
/// to look at them.
fn refused(error: Box<ReadError<Ended>>, id: &str) -> Failure {
    let is_damage = matches!(*error, ReadError::Invalid { .. });
    let failure = Failure::new(Kind::Failed, error).context(format!("job {id} is not imported"));
    match is_damage {
        true => failure.hint("the results are not of this video, or damaged: submit the video again"),
        false => failure,
    }
}

/// The database ended the import; its own error says why.
#[derive(Debug, thiserror::Error)]
#[error("the library takes no more")]
struct Ended;

fn read(
    input: impl Read,
    expected: &Expected,
    sender: &mpsc::SyncSender<Vec<Detection>>,
) -> Result<(results::ResultsHead, usize), Box<ReadError<Ended>>> {
    let mut tracks = HashSet::new();
    let row = |d: &results::Detection| Detection {
        frame: d.frame as i64,
        track_id: d.track_id as i64,
        bbox: d.bbox,
        confidence: d.confidence,
    };
    let (head, _) = results::read_results(input, expected, |batch| {
        tracks.extend(batch.iter().map(|d| d.track_id));
        sender.send(batch.iter().map(row).collect()).map_err(|_| Ended)
    })
    .map_err(Box::new)?;
    Ok((head, tracks.len()))
}
