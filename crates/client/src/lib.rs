//! The analyst's client: the library on one side, the buckets on the other, and what goes from one to the other.
//! The command line and the HTTP server both work at it; neither knows more than the other.

pub mod atomic_file;
pub mod changes;
pub mod estimate;
pub mod export;
pub mod failure;
mod file_lock;
pub mod import;
pub mod overview;
pub mod progress;
pub mod settings;
pub mod stop;
pub mod submit;
pub mod subprocess;
pub mod terminal;
pub mod videos;

use std::sync::{Arc, Mutex};

use jobs::JobId;
use jobs::admin::Admin;
use jobs::bucket::Bucket;
use jobs::env::{Env, SystemEnv};
use jobs::manifest::{Manifest, Target};
use store::Library;

use crate::failure::{Failure, Kind, Outcome};
use crate::settings::Settings;

/// Library and buckets, opened when they are needed.
#[derive(Debug)]
pub struct Client {
    /// What the environment decided.
    pub settings: Settings,
    /// Clocks and random numbers.
    pub env: Arc<dyn Env>,
    opened: Mutex<Vec<(Target, Arc<dyn Bucket>)>>,
}

impl Client {
    /// With these settings. Opens nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, env: SystemEnv::shared(), opened: Mutex::default() }
    }

    /// A connection to the library, which is created if there is none.
    pub fn library(&self) -> Outcome<Library> {
        Ok(Library::open(&self.settings.database_url)?)
    }

    /// Where jobs go if nobody says: to the server if there is one.
    pub fn default_target(&self) -> Target {
        if self.settings.cloud.is_remote() { Target::Cloud } else { Target::Local }
    }

    /// The bucket of a target. With no server, both are one folder.
    pub fn bucket(&self, target: Target) -> Outcome<Arc<dyn Bucket>> {
        let target = self.place_of(target);
        let mut opened = self.opened.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, bucket)) = opened.iter().find(|(t, _)| *t == target) {
            return Ok(bucket.clone());
        }
        let place = if target == Target::Cloud { &self.settings.cloud } else { &self.settings.local };
        let bucket = place.open()?;
        opened.push((target, bucket.clone()));
        Ok(bucket)
    }

    /// A person's hands in the bucket of a target.
    pub fn admin(&self, target: Target) -> Outcome<Admin> {
        Ok(Admin::new(self.bucket(target)?, self.env.clone()))
    }

    /// The buckets that there are, the server first.
    pub fn places(&self) -> Vec<Target> {
        if self.settings.cloud.is_remote() { vec![Target::Cloud, Target::Local] } else { vec![Target::Local] }
    }

    /// Finds a job in whichever bucket has it.
    ///
    /// # Errors
    /// Naming the job if none has it.
    pub async fn find(&self, id: &JobId) -> Outcome<(Admin, Manifest)> {
        self.find_from(id, self.default_target()).await
    }

    /// As [`Self::find`], looking first where the job is said to run: the other place need not answer then.
    pub async fn find_from(&self, id: &JobId, likely: Target) -> Outcome<(Admin, Manifest)> {
        let mut places = self.places();
        places.sort_by_key(|place| *place != self.place_of(likely));
        for target in places {
            let admin = self.admin(target)?;
            match admin.job(id).await {
                Ok(manifest) => return Ok((admin, manifest)),
                Err(jobs::Error::NoJob { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let hint = "`courtside status` lists the jobs";
        Err(Failure::new(Kind::Failed, jobs::Error::NoJob { id: id.clone() }).hint(hint))
    }

    fn place_of(&self, target: Target) -> Target {
        if self.settings.cloud.is_remote() { target } else { Target::Local }
    }
}

/// A job id from a person.
pub fn job_id(text: &str) -> Outcome<JobId> {
    JobId::new(text).map_err(|e| Failure::new(Kind::Failed, e).hint("`courtside status` lists the jobs"))
}
