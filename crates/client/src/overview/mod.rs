//! The state of every job: from the manifests in the buckets, and from the library for jobs that are not uploaded
//! yet. What the manifests say is also recorded in the library, for programs that only read that.

mod foreign;
mod missing;
mod origin;
mod override_state;
mod record;
mod rows;
mod state;
mod view;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jobs::JobId;
use jobs::bucket::Bucket;
use jobs::catalog::Catalog;
use jobs::manifest::{Manifest, Target};
use serde::Serialize;
use store::Library;

use crate::Client;
use crate::failure::{Failure, Outcome};
use crate::job_actions::explain_missing;

pub use foreign::with_progress;
pub use missing::{Closed, close_missing};
pub(crate) use missing::{close_if_missing, closing, is_own, may_be_missing};
pub use origin::{Origin, Origins};
pub use record::record_states;
pub(crate) use state::manifest_status;
pub use state::{State, job_status, n_frames};
pub use view::{JobView, OtherLibrary, view};

/// The state of all jobs at one moment.
#[derive(Debug, Default, Serialize)]
pub struct Overview {
    /// The jobs, oldest first.
    pub jobs: Vec<JobView>,
    /// Manifests, and rows of the library, that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Errors of buckets that did not respond. Their jobs are listed as they were last seen, if at all.
    #[serde(rename = "trouble", serialize_with = "as_messages")]
    pub bucket_errors: Vec<Failure>,
}

fn as_messages<S: serde::Serializer>(failures: &[Failure], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(failures.iter().map(Failure::message))
}

/// Reads the state of all jobs repeatedly; each poll reads only the manifests that changed.
pub struct Watcher<'a> {
    client: &'a Client,
    catalogs: Vec<(Target, Catalog)>,
    /// Sizes of the videos of older programs' jobs; `None` for one that the bucket does not have.
    sizes: HashMap<JobId, Option<u64>>,
}

impl<'a> Watcher<'a> {
    /// Watches all buckets of a client.
    pub fn new(client: &'a Client) -> Outcome<Self> {
        let catalog = |target| Ok((target, Catalog::new(client.bucket(target)?, client.env.clone())));
        let catalogs = client.bucket_targets().into_iter().map(catalog).collect::<Outcome<_>>()?;
        Ok(Self { client, catalogs, sizes: HashMap::new() })
    }

    /// Reads what changed, and records it in the library. A bucket that does not respond is not an error.
    pub async fn poll(&mut self, library: &mut Library) -> Outcome<Overview> {
        let mut overview = Overview::default();
        let mut in_bucket = HashSet::new();
        let now = self.client.env.utc();
        let origins = Origins::read(self.client, library)?;
        for (target, catalog) in &mut self.catalogs {
            if let Err(error) = catalog.refresh().await {
                overview.bucket_errors.push(error.into());
            }
            let bucket = self.client.bucket(*target)?;
            for entry in catalog.jobs() {
                in_bucket.insert(entry.manifest.job_id.to_string());
                let manifest = with_progress(&*bucket, Cow::Borrowed(&entry.manifest)).await;
                let size = match origins.needs_size(&manifest) {
                    true => size_of_video(&mut self.sizes, &*bucket, &manifest).await,
                    false => None,
                };
                overview.jobs.push(view(&manifest, origins.with_size(&manifest, size), *target, now));
            }
            overview.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
            let manifest_of = |id: &JobId| catalog.job(id).map(|entry| &entry.manifest);
            record::unless_busy(library, |library| record_states(library, manifest_of))?;
        }
        overview.unreadable.extend(library.skipped_jobs()?);
        if overview.bucket_errors.is_empty() {
            close_missing(self.client, library, |id| in_bucket.contains(id)).await?;
        }
        overview.jobs.extend(rows::listed(library, |id| in_bucket.contains(id))?);
        overview.jobs.sort_by(|a, b| (&a.created_at, &a.job_id).cmp(&(&b.created_at, &b.job_id)));
        Ok(overview)
    }

    /// The job with this id, which no poll lists: it ended before its bucket had it, its bucket no longer has it, or it was
    /// imported long ago.
    ///
    /// # Errors
    /// With [`jobs::Error::NoJob`] as its cause if it is unknown; without if the user removed it.
    pub async fn unlisted(&self, library: &Library, id: &JobId) -> Outcome<JobView> {
        if let Some(job) = rows::unlisted(library, id)? {
            return Ok(job);
        }
        let found = self.client.find_job(id).await;
        let (_, manifest) = match found {
            Ok(found) => found,
            Err(failure) => return Err(explain_missing(failure, library.job(id.as_str())?.as_ref())),
        };
        let origin = Origins::read(self.client, library)?.of(&manifest);
        Ok(view(&manifest, origin, self.client.default_target(), self.client.env.utc()))
    }
}

/// Size of a job's video in its bucket, which is asked once. `None` if it does not have the video, or does not respond.
async fn size_of_video(
    sizes: &mut HashMap<JobId, Option<u64>>,
    bucket: &dyn Bucket,
    manifest: &Manifest,
) -> Option<u64> {
    if let Some(size) = sizes.get(&manifest.job_id) {
        return *size;
    }
    let size = bucket.head(&manifest.video_key()).await.ok()?.map(|(size, _)| size);
    sizes.insert(manifest.job_id.clone(), size);
    size
}
