//! Importing results from a bucket into the library.
//!
//! Results are verified before anything is written, each job is one transaction, and the bucket keeps the results
//! until the database has them on disk. Importing a job twice changes nothing.

mod ignored;
mod incomplete;
mod pending;
mod permission;
mod refused;
mod results_file;
mod times;
mod video;

use std::path::{Path, PathBuf};

use jobs::admin::Admin;
use jobs::manifest::{Manifest, MissingFrames, Status};
use jobs::results::Expected;
use jobs::transfer::{self, DownloadProgress, FileDigest, OnProgress};
use jobs::{JobId, Refusal};
use serde::Serialize;
use store::{DetectionScope, ImportJob, ImportOutcome, JobRow, JobUpdate, Library};

use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};
use crate::file_lock::FileLock;
use crate::{Client, job_actions, target, videos};

pub use incomplete::Incomplete;
pub use pending::{Offer, PendingImports, pending_imports};
use permission::check_allowed;
pub use permission::is_automatic;
pub(crate) use permission::is_of_other_library;
pub use refused::RefusedResults;
use refused::{Refuse, is_of_results};
use results_file::import_file;
use video::{ImportVideo, find_video};

/// The result of an import, shown to the user.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// Id of the job.
    pub job_id: String,
    /// Id of the video in this library.
    pub video_id: i64,
    /// Number of detections of the job in the library.
    pub detections: i64,
    /// Number of frames that the worker tracked, if the results have it.
    pub frames_processed: Option<i64>,
    /// Number of tracks of the job.
    pub tracks: i64,
    /// Whether the library had exactly these results before.
    pub already: bool,
    /// Frames that could not be decoded, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_frames: Option<MissingFrames>,
    /// What the worker found unusual about the video, and what was changed in the results to make them valid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What [`import`] does besides writing the results to the library.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Remove the bucket's copy of the video afterwards.
    pub delete_video: bool,
    /// Import into this video of the library. `None`: the video whose content is that of the job.
    pub into_video: Option<i64>,
    /// Import also a job that another program or library has imported, and one that was cancelled.
    pub force: bool,
}

/// Downloads the results of a job, verifies them, and writes them to the library.
///
/// # Errors
/// If the job has no results, the results are not those that the manifest describes, or the library cannot be
/// written. Results and manifest are left unchanged.
pub async fn import(
    client: &Client,
    library: &mut Library,
    id: &JobId,
    options: ImportOptions,
    progress: OnProgress<'_>,
) -> Outcome<Imported> {
    let row = library.job(id.as_str())?;
    let found = client.find_job_from(id, client.likely_target(row.as_ref())).await;
    let (admin, manifest) = found.map_err(|failure| job_actions::explain_missing(failure, row.as_ref()))?;
    if !matches!(manifest.status, Status::Completed | Status::Imported) {
        let refusal = Refusal::NotImportable { status: manifest.status };
        let failure = Failure::new(Kind::Failed, jobs::Error::Refused { id: id.clone(), refusal });
        return Err(failure.hint("run `courtside status` to see its progress"));
    }
    check_allowed(client, library, &manifest, row.as_ref(), options)?;
    let video = find_video(client, library, &admin, &manifest, row.as_ref(), options).await?;
    let imported = bring(client, library, &admin, &manifest, &video, row.is_some(), progress).await?;
    if is_of_other_library(client, library, &manifest)? {
        // Its own library still has to import it.
        return Ok(imported);
    }
    match admin.mark_imported(id).await {
        // An older importer removed the manifest meanwhile.
        Ok(_) | Err(jobs::Error::NoJob { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if options.delete_video && admin.remove_video(&manifest).await? {
        videos::forget_bucket_copy(library, imported.video_id, &manifest)?;
    }
    Ok(imported)
}

/// Downloads the results and writes them to the library, unless it has them. `has_row`: whether the library has the job.
async fn bring(
    client: &Client,
    library: &mut Library,
    admin: &Admin,
    manifest: &Manifest,
    video: &ImportVideo,
    has_row: bool,
    progress: OnProgress<'_>,
) -> Outcome<Imported> {
    let file = download_path(client, &manifest.job_id);
    let _lock = FileLock::acquire(&file).await?;
    if let Some(imported) = find_imported(library, manifest)? {
        // Left by an import that was killed between its transaction and its cleanup.
        let _ = std::fs::remove_file(&file);
        return Ok(imported);
    }
    let refuse = Refuse { manifest, video_id: video.id, has_row };
    let content = download(admin, manifest, &file, progress).await;
    let content = content.map_err(|failure| refuse.recorded(library, None, failure))?;
    let stored = write(library, manifest, video, &file, &content);
    stored.map_err(|failure| refuse.recorded(library, Some(content.sha256), failure))
}

/// Where the results of a job are downloaded to.
fn download_path(client: &Client, id: &JobId) -> PathBuf {
    client.settings.scratch().join("results").join(format!("{id}.json"))
}

/// Returns the earlier import of exactly the results that the manifest names. Detections that were deleted since
/// are imported again.
fn find_imported(library: &Library, manifest: &Manifest) -> Outcome<Option<Imported>> {
    let Some(row) = library.import_of(manifest.job_id.as_str())? else { return Ok(None) };
    let is_same = manifest.result.as_ref().is_some_and(|result| result.sha256 == row.sha256);
    if !is_same {
        return Ok(None);
    }
    let stats = library.detection_stats(DetectionScope::Job(&row.job_id).raw())?;
    Ok(library.has_all_rows(&row.job_id)?.then_some(Imported {
        job_id: row.job_id,
        video_id: row.video_id,
        detections: row.n_detections,
        frames_processed: row.frames_processed,
        tracks: stats.n_tracks,
        already: true,
        missing_frames: manifest.result.as_ref().and_then(|result| result.missing_frames.clone()),
        warnings: Vec::new(),
    }))
}

/// Why the results of a completed job cannot be imported; `None` if they can. The database is not asked, so what only the
/// database finds is known from an earlier import of the same results.
pub(crate) async fn refusal(
    client: &Client,
    library: &Library,
    admin: &Admin,
    manifest: &Manifest,
    row: Option<&JobRow>,
) -> Outcome<Option<String>> {
    let options = ImportOptions::default();
    // What is known of the video only sharpens the check.
    let video = find_video(client, library, admin, manifest, row, options).await.unwrap_or_default();
    let file = download_path(client, &manifest.job_id);
    let _lock = FileLock::acquire(&file).await?;
    let verified = match download(admin, manifest, &file, &|_, _| {}).await {
        Ok(content) => {
            let verified = results_file::verify(&file, &expected(manifest, &video, &content));
            std::fs::remove_file(&file).map_err(|e| cannot("remove", &file, e))?;
            verified.map(|()| content)
        }
        Err(failure) => Err(failure),
    };
    let recorded = row.and_then(|row| RefusedResults::of(row, manifest));
    match (verified, recorded) {
        (Err(failure), _) if is_of_results(&failure) => Ok(Some(failure.message())),
        (Err(failure), _) => Err(failure),
        (Ok(content), Some(recorded)) if recorded.sha256.as_ref() == Some(&content.sha256) => {
            Ok(Some(recorded.reason))
        }
        (Ok(_), Some(_)) => refused::forget(library, manifest.job_id.as_str()).map(|()| None),
        (Ok(_), None) => Ok(None),
    }
}

async fn download(
    admin: &Admin,
    manifest: &Manifest,
    file: &Path,
    progress: OnProgress<'_>,
) -> Outcome<FileDigest> {
    let id = &manifest.job_id;
    let result = manifest.result.as_ref();
    let (size, sha256) = (result.map(|r| r.size_bytes), result.map(|r| r.sha256.as_str()));
    let on_arrival = |arrived: DownloadProgress<'_>| progress(arrived.n_bytes, arrived.size_bytes);
    let content =
        transfer::download(&**admin.bucket(), &id.results_key(), size, sha256, file, &on_arrival).await;
    content.map_err(|e| Failure::from(e).context(format!("cannot download the results of job {id}")))
}

fn expected(manifest: &Manifest, video: &ImportVideo, content: &FileDigest) -> Expected {
    Expected {
        video_id: Some(manifest.video_id),
        n_frames: video.n_frames,
        frame_size: video.frame_size,
        size_bytes: Some(content.size_bytes),
        sha256: Some(content.sha256.clone()),
        n_detections: manifest.result.as_ref().map(|result| result.detections),
        ..Expected::of_job(manifest.job_id.as_str())
    }
}

/// Writes downloaded results to the library, and removes the file.
fn write(
    library: &mut Library,
    manifest: &Manifest,
    video: &ImportVideo,
    file: &Path,
    content: &FileDigest,
) -> Outcome<Imported> {
    let id = &manifest.job_id;
    let result = manifest.result.as_ref();
    let job = import_job(manifest, &content.sha256, video.id);
    let report = import_file(library, file, &job, &expected(manifest, video, content));
    // Also after an error: the next import downloads rejected results again.
    let removed = std::fs::remove_file(file).map_err(|e| cannot("remove", file, e));
    let (report, read) = report?;
    removed?;
    let tracks = match &read {
        Some(read) => read.n_tracks as i64,
        None => library.detection_stats(DetectionScope::Job(id.as_str()).raw())?.n_tracks,
    };
    let of_worker = result.map(|result| result.warnings.clone()).unwrap_or_default();
    let of_results = read.map(|read| {
        let ignored = ignored::ignored_parameters(manifest, video.fps, &read);
        read.warnings().into_iter().chain(ignored).chain(times::unusual(manifest))
    });
    let of_results: Vec<String> = of_results.into_iter().flatten().collect();
    let imported = Imported {
        job_id: report.job_id,
        video_id: report.video_id,
        detections: report.n_detections,
        frames_processed: report.frames_processed,
        tracks,
        already: report.outcome == ImportOutcome::AlreadyImported,
        missing_frames: result.and_then(|result| result.missing_frames.clone()),
        warnings: of_worker.into_iter().chain(of_results).chain(video.warning.clone()).collect(),
    };
    let update = JobUpdate { result: Some(result_column(&imported)), ..JobUpdate::default() };
    library.update_job(id.as_str(), &update)?;
    Ok(imported)
}

/// The `result` column of the library's job. The analyzer app reads the first four fields.
fn result_column(imported: &Imported) -> serde_json::Value {
    serde_json::json!({
        "video_id": imported.video_id,
        "detections": imported.detections,
        "total_detections": imported.detections,
        "frames_processed": imported.frames_processed,
        "tracks": imported.tracks,
        "missing_frames": imported.missing_frames,
        "warnings": imported.warnings,
    })
}

fn import_job(manifest: &Manifest, sha256: &str, video_id: i64) -> ImportJob {
    ImportJob {
        parameters: serde_json::to_value(&manifest.parameters).unwrap_or_default(),
        created_at: Some(manifest.created_at.moment()),
        started_at: manifest.started_at.as_ref().map(|t| t.moment()),
        worker_id: manifest.worker_id.clone(),
        target: manifest.target.map(target::to_store),
        r2_video_key: Some(manifest.video_key()),
        ..ImportJob::new(manifest.job_id.as_str(), video_id, sha256)
    }
}
