//! Importing results from a bucket into the library.
//!
//! Results are verified before anything is written, each job is one transaction, and the bucket keeps the results
//! until the database has them on disk. Importing a job twice changes nothing.

mod pending;
mod results_file;

use std::path::{Path, PathBuf};

use jobs::admin::Admin;
use jobs::manifest::{Manifest, MissingFrames, Status};
use jobs::quote::quoted;
use jobs::results::Expected;
use jobs::transfer::{self, DownloadProgress, OnProgress};
use jobs::{JobId, Refusal};
use serde::Serialize;
use store::{DetectionScope, ImportJob, ImportOutcome, JobUpdate, Library};

use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};
use crate::file_lock::FileLock;
use crate::{Client, target, videos};

pub use pending::{PendingImports, pending_imports};
use results_file::import_file;

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
    /// Import into this video of the library. `None`: the video that the job names.
    pub into_video: Option<i64>,
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
    let likely = client.likely_target(library.job(id.as_str())?.as_ref());
    let (admin, manifest) = client.find_job_from(id, likely).await?;
    if !matches!(manifest.status, Status::Completed | Status::Imported) {
        let refusal = Refusal::NotImportable { status: manifest.status };
        let failure = Failure::new(Kind::Failed, jobs::Error::Refused { id: id.clone(), refusal });
        return Err(failure.hint("run `courtside status` to see its progress"));
    }
    let video = check_video(library, &manifest, options)?;
    let file = download_path(client, id);
    let lock = FileLock::acquire(&file).await?;
    let imported = match find_imported(library, &manifest)? {
        Some(imported) => {
            // Left by an import that was killed between its transaction and its cleanup.
            let _ = std::fs::remove_file(&file);
            imported
        }
        None => fetch(&admin, library, &manifest, &video, &file, options, progress).await?,
    };
    drop(lock);
    admin.mark_imported(id).await?;
    if options.delete_video && admin.remove_video(&manifest).await? {
        videos::forget_bucket_copy(library, imported.video_id, &manifest)?;
    }
    Ok(imported)
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
    let stats = library.detection_stats(DetectionScope::Job(&row.job_id))?;
    Ok((stats.total_detections == row.n_detections).then_some(Imported {
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

/// What is known of a job's video, for comparison with the results.
struct KnownVideo {
    n_frames: Option<u64>,
    /// Width and height of a frame, in pixels.
    frame_size: Option<[u32; 2]>,
}

/// Checks that the library's video is the one that the job tracked. Returns what is known of it.
fn check_video(library: &Library, manifest: &Manifest, options: ImportOptions) -> Outcome<KnownVideo> {
    let id = options.into_video.unwrap_or(manifest.video_id);
    let submitted = manifest.video.clone().unwrap_or_default();
    let other_video = |what: String| {
        let job = &manifest.job_id;
        let hint = format!(
            "add the video to this library, then run `courtside import --job-id {job} --into-video N`"
        );
        Failure::msg(Kind::Failed, format!("job {job}: {what}")).hint(hint)
    };
    let Some(row) = library.video(id)? else {
        let what = format!("this library has no video {id}; the job was submitted from another library");
        return Err(other_video(what));
    };
    let is_from_here = library.job(manifest.job_id.as_str())?.is_some();
    let size_differs =
        matches!((row.file.size_bytes, submitted.size_bytes), (Some(a), Some(b)) if a as u64 != b);
    if !is_from_here && size_differs {
        let name = submitted.name.unwrap_or_default();
        let name = quoted(&name);
        return Err(other_video(format!("it tracked {name}, but video {id} here is {}", row.file_path)));
    }
    let submitted_size = submitted.width.zip(submitted.height);
    Ok(KnownVideo {
        n_frames: submitted.n_frames.or(row.n_frames.map(|n| n as u64)),
        frame_size: submitted_size.or_else(|| row.frame_size()).map(<[u32; 2]>::from),
    })
}

async fn fetch(
    admin: &Admin,
    library: &mut Library,
    manifest: &Manifest,
    video: &KnownVideo,
    file: &Path,
    options: ImportOptions,
    progress: OnProgress<'_>,
) -> Outcome<Imported> {
    let id = &manifest.job_id;
    let result = manifest.result.as_ref();
    let (size, sha256) = (result.map(|r| r.size_bytes), result.map(|r| r.sha256.as_str()));
    let on_arrival = |arrived: DownloadProgress<'_>| progress(arrived.n_bytes, arrived.size_bytes);
    let content = transfer::download(&**admin.bucket(), &id.results_key(), size, sha256, file, &on_arrival)
        .await
        .map_err(|e| Failure::from(e).context(format!("cannot download the results of job {id}")))?;
    let expected = Expected {
        video_id: Some(manifest.video_id),
        n_frames: video.n_frames,
        frame_size: video.frame_size,
        size_bytes: Some(content.size_bytes),
        sha256: Some(content.sha256.clone()),
        n_detections: result.map(|r| r.detections),
        ..Expected::of_job(id.as_str())
    };
    let job = import_job(manifest, &content.sha256, options);
    let report = import_file(library, file, &job, &expected);
    // Also after an error: the next import downloads rejected results again.
    let removed = std::fs::remove_file(file).map_err(|e| cannot("remove", file, e));
    let (report, read) = report?;
    removed?;
    let tracks = match &read {
        Some(read) => read.n_tracks as i64,
        None => library.detection_stats(DetectionScope::Job(id.as_str()))?.n_tracks,
    };
    let of_worker = result.map(|result| result.warnings.clone()).unwrap_or_default();
    let of_results = read.map(|read| read.warnings()).unwrap_or_default();
    let imported = Imported {
        job_id: report.job_id,
        video_id: report.video_id,
        detections: report.n_detections,
        frames_processed: report.frames_processed,
        tracks,
        already: report.outcome == ImportOutcome::AlreadyImported,
        missing_frames: result.and_then(|result| result.missing_frames.clone()),
        warnings: of_worker.into_iter().chain(of_results).collect(),
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

fn import_job(manifest: &Manifest, sha256: &str, options: ImportOptions) -> ImportJob {
    let video_id = options.into_video.unwrap_or(manifest.video_id);
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
