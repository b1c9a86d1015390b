//! The laptop side of Courtside: the library (SQLite) on one side, the buckets on the other.
//!
//! The command line and the HTTP server are both thin layers over this crate, which holds every rule they share:
//! [settings], the allowed [parameters of a job](parameters), [submitting](submit), [importing](import), the
//! [state of every job](overview), [cancelling and retrying](job_actions), and [export]. It contains neither
//! tensor code nor an HTTP server. The worker uses its general parts: failures, progress, stopping, atomic files,
//! export formats.

pub mod atomic_file;
pub mod estimate;
pub mod export;
pub mod failure;
mod file_lock;
pub mod host;
pub mod import;
pub mod job_actions;
pub mod job_name;
pub mod logs;
pub mod machine_notices;
pub mod overview;
pub mod parameters;
pub mod progress;
pub mod settings;
pub mod stop;
pub mod submit;
pub mod subprocess;
pub mod sweep;
mod target;
pub mod terminal;
pub mod track_table;
pub mod videos;

use std::sync::{Arc, Mutex, PoisonError};

use jobs::JobId;
use jobs::admin::Admin;
use jobs::bucket::Bucket;
use jobs::env::{Env, SystemEnv};
use jobs::manifest::{Manifest, Target};
use store::{JobRow, Library};

use crate::failure::{Failure, Kind, Outcome};
use crate::settings::Settings;

/// The setting in the library that identifies it.
const LIBRARY_ID: &str = "library_id";
const LIST_JOBS: &str = "run `courtside status` to list the jobs";

/// The library and the buckets that the settings name. Each is opened on first use.
#[derive(Debug)]
pub struct Client {
    /// The settings it was created with.
    pub settings: Settings,
    /// Clocks and random numbers; tests inject their own.
    pub env: Arc<dyn Env>,
    opened: Mutex<Vec<(Target, Arc<dyn Bucket>)>>,
}

impl Client {
    /// Creates a client that uses the system's clocks. Opens nothing.
    pub fn new(settings: Settings) -> Self {
        Self { settings, env: SystemEnv::shared(), opened: Mutex::default() }
    }

    /// Opens a new connection to the library, and creates its database if needed.
    pub fn library(&self) -> Outcome<Library> {
        Ok(Library::open(&self.settings.database_url)?)
    }

    /// Opens a new connection to the library for a command that only reads it. `None` if there is no database, which
    /// is not created.
    pub fn existing_library(&self) -> Outcome<Option<Library>> {
        Ok(Library::open_existing(&self.settings.database_url)?)
    }

    /// Where a job runs unless the user chooses: `cloud` if an S3 server is configured, else `local`.
    pub fn default_target(&self) -> Target {
        if self.settings.cloud.is_remote() { Target::Cloud } else { Target::Local }
    }

    /// The bucket of a target. Without an S3 server, both targets share one folder.
    pub fn bucket(&self, target: Target) -> Outcome<Arc<dyn Bucket>> {
        let target = self.bucket_target(target);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bucket)) = opened.iter().find(|(t, _)| *t == target) {
            return Ok(bucket.clone());
        }
        let location = if target == Target::Cloud { &self.settings.cloud } else { &self.settings.local };
        let bucket = location.open()?;
        opened.push((target, bucket.clone()));
        Ok(bucket)
    }

    /// The operations on jobs in the bucket of a target.
    pub fn admin(&self, target: Target) -> Outcome<Admin> {
        Ok(Admin::new(self.bucket(target)?, self.env.clone()).on(host::host_name()))
    }

    /// The targets that have separate buckets, the S3 server first.
    pub fn bucket_targets(&self) -> Vec<Target> {
        if self.settings.cloud.is_remote() { vec![Target::Cloud, Target::Local] } else { vec![Target::Local] }
    }

    /// Finds a job in any bucket, or in its archive.
    ///
    /// # Errors
    /// With [`jobs::Error::NoJob`] as its cause if no bucket has the job.
    pub async fn find_job(&self, id: &JobId) -> Outcome<(Admin, Manifest)> {
        self.find_job_from(id, self.default_target()).await
    }

    /// Finds a job, starting with the bucket of `first`. If the job is there, the other bucket is not contacted.
    ///
    /// # Errors
    /// As for [`Self::find_job`].
    pub async fn find_job_from(&self, id: &JobId, first: Target) -> Outcome<(Admin, Manifest)> {
        let mut targets = self.bucket_targets();
        targets.sort_by_key(|target| *target != self.bucket_target(first));
        for target in targets {
            let admin = self.admin(target)?;
            match admin.job(id).await {
                Ok(manifest) => return Ok((admin, manifest)),
                Err(jobs::Error::NoJob { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.find_archived(id).await
    }

    /// Finds a job that was imported long ago.
    async fn find_archived(&self, id: &JobId) -> Outcome<(Admin, Manifest)> {
        for target in self.bucket_targets() {
            let admin = self.admin(target)?;
            if let Some(manifest) = admin.archived(id).await? {
                return Ok((admin, manifest));
            }
        }
        Err(Failure::new(Kind::Failed, jobs::Error::NoJob { id: id.clone() }).hint(LIST_JOBS))
    }

    /// The target whose bucket most likely has the job of a library row.
    pub fn likely_target(&self, row: Option<&JobRow>) -> Target {
        let recorded = row.and_then(|row| row.target).map(target::from_store);
        recorded.unwrap_or_else(|| self.default_target())
    }

    /// The id of a library, by which its jobs are recognized in a bucket that several libraries share. Made on first use.
    pub fn library_id(&self, library: &Library) -> Outcome<String> {
        if let Some(id) = self.known_library_id(library)? {
            return Ok(id);
        }
        library.set_setting(LIBRARY_ID, &self.env.unique_id())?;
        // Another process may have made one at the same time.
        Ok(self.known_library_id(library)?.unwrap_or_default())
    }

    /// The id of a library; `None` if it was never needed.
    pub(crate) fn known_library_id(&self, library: &Library) -> Outcome<Option<String>> {
        Ok(library.setting(LIBRARY_ID)?)
    }

    fn bucket_target(&self, target: Target) -> Target {
        if self.settings.cloud.is_remote() { target } else { Target::Local }
    }
}

/// Parses a job id that the user typed.
pub fn parse_job_id(text: &str) -> Outcome<JobId> {
    JobId::new(text).map_err(|e| Failure::new(Kind::Failed, e).hint(LIST_JOBS))
}

/// Whether an operation failed because no bucket has the job.
pub fn is_unknown_job(failure: &Failure) -> bool {
    matches!(failure.cause::<jobs::Error>(), Some(jobs::Error::NoJob { .. }))
}
