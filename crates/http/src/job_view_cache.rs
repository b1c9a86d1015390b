//! Jobs that somebody follows: however many follow one, it is looked at once in a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant};

use ::jobs::JobId;
use tokio::sync::Mutex;

use super::jobs::look;
use super::problem::Answer;
use super::shapes::JobBody;
use super::state::App;

type Slot = Arc<Mutex<Option<(Instant, JobBody)>>>;

/// The last looks at jobs that are followed.
#[derive(Default)]
pub(super) struct JobViewCache(Lock<HashMap<JobId, Slot>>);

impl JobViewCache {
    /// The job as it was at most `age` ago.
    pub(super) async fn at(&self, app: &App, id: &JobId, age: Duration) -> Answer<JobBody> {
        let slot = self.slot(id);
        // Whoever comes while somebody looks waits for that look.
        let mut last = slot.lock().await;
        if let Some((taken, body)) = &*last
            && taken.elapsed() < age
        {
            return Ok(body.clone());
        }
        let body = look(app, id).await?;
        *last = Some((Instant::now(), body.clone()));
        Ok(body)
    }

    /// Looks again the next time: the job was changed from here.
    pub(super) fn forget(&self, id: &JobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn slot(&self, id: &JobId) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !slots.contains_key(id) {
            // Nobody else holds what is only in the table.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(id.clone()).or_default().clone()
    }
}
