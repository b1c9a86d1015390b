//! Finding the jobs that have results to import.

use std::collections::HashMap;

use jobs::JobId;
use jobs::admin::{Admin, is_importable};
use jobs::catalog::Catalog;
use jobs::manifest::{Manifest, Status};
use jobs::quote::quoted;
use serde::Serialize;
use store::{JobFilter, JobRow, Library, Video};

use super::incomplete::{self, Incomplete};
use super::is_of_other_library;
use super::permission::NeedsForce;
use crate::Client;
use crate::failure::{Failure, Outcome};
use crate::videos::{self, JobContent};

/// The jobs that can be imported, and what prevented finding more.
#[derive(Debug, Default)]
pub struct PendingImports {
    /// Jobs with results, oldest first.
    pub ids: Vec<JobId>,
    /// Jobs with results that are imported only on request.
    pub offers: Vec<Offer>,
    /// Imported jobs of which the library has lost detections.
    pub incomplete: Vec<Incomplete>,
    /// Manifests, and rows of the library, that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Errors of buckets that did not respond.
    pub bucket_errors: Vec<Failure>,
}

/// A job that is imported only on request.
#[derive(Debug, Clone, Serialize)]
pub struct Offer {
    /// Id of the job.
    pub job_id: JobId,
    /// The video of this library that it tracked; `None` if this library does not have it.
    pub video_id: Option<i64>,
    /// Why it is not imported, as a sentence without the job and the command.
    pub reason: String,
    /// The command that imports it; `None` if this library lacks the video.
    pub command: Option<String>,
}

/// What the library knows, for deciding about each job.
struct Known<'a> {
    client: &'a Client,
    library: &'a Library,
    rows: HashMap<String, JobRow>,
    videos: Vec<Video>,
}

/// What to do with a job.
enum Decision {
    Import,
    Offer(Offer),
    Skip,
}

/// Lists the jobs with results to import, in every bucket that responds.
pub async fn pending_imports(client: &Client, library: &Library) -> Outcome<PendingImports> {
    let rows = library.jobs(&JobFilter::default())?.into_iter().map(|row| (row.id.clone(), row)).collect();
    let known = Known { client, library, rows, videos: videos::all(library)? };
    let mut pending = PendingImports {
        incomplete: incomplete::find(client, library).await?,
        unreadable: library.skipped_jobs()?,
        ..PendingImports::default()
    };
    let mut found = Vec::new();
    for target in client.bucket_targets() {
        let admin = client.admin(target)?;
        let mut catalog = Catalog::new(client.bucket(target)?, client.env.clone());
        if let Err(error) = catalog.refresh().await {
            pending.bucket_errors.push(error.into());
            continue;
        }
        for manifest in catalog.jobs().map(|entry| &entry.manifest) {
            match known.decide(&admin, manifest).await? {
                Decision::Import => found.push((manifest.created_at.moment(), manifest.job_id.clone())),
                Decision::Offer(offer) => pending.offers.push(offer),
                Decision::Skip => {}
            }
        }
        pending.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
        // Reading the archive is worth it only for a video without detections.
        if known.videos.iter().any(|video| !video.processed) {
            let mut archive = Catalog::of_archive(client.bucket(target)?, client.env.clone());
            if let Err(error) = archive.refresh().await {
                pending.bucket_errors.push(error.into());
            }
            for manifest in archive.jobs().map(|entry| &entry.manifest) {
                if let Decision::Offer(offer) = known.decide(&admin, manifest).await? {
                    pending.offers.push(offer);
                }
            }
        }
    }
    found.sort();
    pending.ids = found.into_iter().map(|(_, id)| id).collect();
    pending.offers.sort_by(|a, b| a.job_id.cmp(&b.job_id));
    Ok(pending)
}

impl Known<'_> {
    async fn decide(&self, admin: &Admin, manifest: &Manifest) -> Outcome<Decision> {
        let row = self.rows.get(manifest.job_id.as_str());
        let is_other = is_of_other_library(self.client, self.library, manifest)?;
        let has_results = is_importable(manifest) || manifest.status == Status::Imported;
        if !has_results || row.is_some_and(|row| row.imported) {
            // Completed and in the library: only the manifest has to be written.
            let is_unmarked = is_importable(manifest) && !is_other;
            return Ok(if is_unmarked { Decision::Import } else { Decision::Skip });
        }
        let needs = NeedsForce::of(self.client, self.library, manifest, row)?;
        match (needs, row) {
            (Some(needs @ (NeedsForce::ImportedElsewhere | NeedsForce::ImportedBefore)), _) => {
                self.offer_imported(manifest, row, needs)
            }
            (Some(needs), _) => Ok(Decision::Offer(offer(
                manifest,
                row.and_then(|row| row.video_id),
                needs.reason().to_owned(),
                " --force",
            ))),
            (None, Some(_)) => Ok(Decision::Import),
            (None, None) => self.decide_unknown(admin, manifest, is_other).await,
        }
    }

    /// A job that is imported already: offered if this library has its video.
    fn offer_imported(
        &self,
        manifest: &Manifest,
        row: Option<&JobRow>,
        needs: NeedsForce,
    ) -> Outcome<Decision> {
        let content = JobContent::of(manifest);
        let video = match row.and_then(|row| row.video_id) {
            Some(id) => Some(id),
            None => self.recognized(&content)?,
        };
        Ok(match video {
            Some(id) => {
                let reason = format!("{}; it tracked video {id}", needs.reason());
                Decision::Offer(offer(manifest, Some(id), reason, " --force"))
            }
            None => Decision::Skip,
        })
    }

    /// A completed job that this library did not submit: imported into the video with its content, if it is not known to
    /// be another library's.
    async fn decide_unknown(&self, admin: &Admin, manifest: &Manifest, is_other: bool) -> Outcome<Decision> {
        let content = JobContent::read(admin, manifest).await?;
        if content.is_unknown() && !is_other {
            // Only its number is known.
            return Ok(Decision::Import);
        }
        let video = content.find(&self.client.settings, self.library)?;
        let name = manifest.video.as_ref().and_then(|video| video.name.as_deref());
        let tracked = name.map_or_else(|| manifest.video_key(), |name| quoted(name).into_owned());
        Ok(match video {
            Some(_) if !is_other => Decision::Import,
            Some(video) => {
                let reason = format!("is another library's; it tracked video {}", video.id);
                Decision::Offer(offer(manifest, Some(video.id), reason, ""))
            }
            None => {
                let reason = format!("tracked {tracked}, which is not in this library");
                let job_id = manifest.job_id.clone();
                Decision::Offer(Offer { job_id, video_id: None, reason, command: None })
            }
        })
    }

    /// The video of this library whose hash is that of the job's video. Only a file of the same size is read for that.
    fn recognized(&self, content: &JobContent) -> Outcome<Option<i64>> {
        if !content.is_hashed() {
            return Ok(None);
        }
        match content.find_known(&self.videos) {
            Some(video) => Ok(Some(video.id)),
            None => Ok(content.find(&self.client.settings, self.library)?.map(|video| video.id)),
        }
    }
}

fn offer(manifest: &Manifest, video_id: Option<i64>, reason: String, flag: &str) -> Offer {
    let job_id = manifest.job_id.clone();
    let command = Some(format!("courtside import --job-id {job_id}{flag}"));
    Offer { job_id, video_id, reason, command }
}
