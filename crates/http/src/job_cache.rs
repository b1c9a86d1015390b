//! What the registers said when they were last looked at. One catalog for each bucket is kept, so that only
//! what changed is read again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ::jobs::JobId;
use ::jobs::catalog::Catalog;
use ::jobs::manifest::{Manifest, Target};
use tokio::sync::Mutex;

use super::state::App;
use client::failure::Outcome;
use client::{Client, overview};

/// How long a request waits for a look.
const PATIENCE: Duration = Duration::from_secs(3);

/// A register and where it lies.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) manifest: Arc<Manifest>,
    pub(super) place: Target,
}

/// One look at all buckets.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The jobs.
    pub(super) jobs: HashMap<JobId, Seen>,
    /// Registers that cannot be understood.
    pub(super) unreadable: Vec<String>,
    /// Buckets that did not answer; their jobs are as they were seen before.
    pub(super) trouble: Vec<Target>,
    taken: Option<Instant>,
}

impl Picture {
    /// Why it may be out of date.
    pub(super) fn warning(&self) -> Option<String> {
        let silent: Vec<&str> = self.trouble.iter().map(|place| place.as_str()).collect();
        (!silent.is_empty()).then(|| format!("the {} bucket does not answer", silent.join(" and the ")))
    }
}

/// All jobs of all buckets.
pub(super) struct JobCache {
    catalogs: Mutex<Vec<(Target, Catalog)>>,
    picture: RwLock<Arc<Picture>>,
}

impl JobCache {
    pub(super) fn new(client: &Client) -> Outcome<Self> {
        let catalog = |target| Ok((target, Catalog::new(client.bucket(target)?, client.env.clone())));
        let catalogs = client.places().into_iter().map(catalog).collect::<Outcome<_>>()?;
        Ok(Self { catalogs: Mutex::new(catalogs), picture: RwLock::default() })
    }

    /// What was seen last.
    pub(super) fn picture(&self) -> Arc<Picture> {
        self.picture.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks again, and notes what is new in the library. A bucket that does not answer is no failure.
    pub(super) async fn look(&self, app: &App) -> Arc<Picture> {
        let mut catalogs = self.catalogs.lock().await;
        let picture = Arc::new(take(&mut catalogs, &self.picture()).await);
        *self.picture.write().unwrap_or_else(PoisonError::into_inner) = picture.clone();
        let seen = picture.clone();
        let noted = app
            .at_desk(move |_, library| {
                overview::note(library, |id| seen.jobs.get(id).map(|seen| &*seen.manifest))
            })
            .await;
        if let Err(failure) = noted {
            tracing::warn!(cause = failure.message(), "what is new was not noted in the library");
        }
        picture
    }

    /// A picture that is not older than `age`, if one can be had soon; else the last one.
    pub(super) async fn recent(&self, app: &App, age: Duration) -> Arc<Picture> {
        let picture = self.picture();
        if picture.taken.is_some_and(|taken| taken.elapsed() <= age) {
            return picture;
        }
        match tokio::time::timeout(PATIENCE, self.look(app)).await {
            Ok(picture) => picture,
            Err(_) => self.picture(),
        }
    }
}

async fn take(catalogs: &mut [(Target, Catalog)], before: &Picture) -> Picture {
    let mut picture = Picture { taken: Some(Instant::now()), ..Picture::default() };
    for (place, catalog) in catalogs {
        if let Err(error) = catalog.refresh().await {
            // Once is enough.
            match before.trouble.contains(place) {
                true => tracing::debug!(%error, "a bucket still does not answer"),
                false => tracing::warn!(%error, "a bucket does not answer"),
            }
            picture.trouble.push(*place);
        }
        let seen = |manifest: &Manifest| Seen { manifest: Arc::new(manifest.clone()), place: *place };
        picture.jobs.extend(catalog.jobs().map(|s| (s.manifest.job_id.clone(), seen(&s.manifest))));
        picture.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
    }
    picture
}
