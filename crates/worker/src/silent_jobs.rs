//! The jobs of other workers that send no heartbeats: each is announced once, with the time of its takeover.

use std::collections::HashSet;
use std::time::Duration;

use client::terminal::{notify, printable};
use jobs::JobId;
use jobs::queue::SilentJob;
use time::OffsetDateTime;

/// The silent jobs of the last poll.
#[derive(Debug, Default)]
pub(crate) struct SilentJobs {
    jobs: Vec<SilentJob>,
    announced: HashSet<JobId>,
}

impl SilentJobs {
    /// Replaces them, and announces the new ones.
    pub(crate) fn update(&mut self, jobs: Vec<SilentJob>, now: OffsetDateTime) {
        self.announced.retain(|id| jobs.iter().any(|job| job.id == *id));
        for job in &jobs {
            if self.announced.insert(job.id.clone()) {
                notify(printable(&announcement(job, now)));
            }
        }
        self.jobs = jobs;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Time until the first of them may be taken over.
    pub(crate) fn next_takeover(&self) -> Option<Duration> {
        self.jobs.iter().map(|job| job.takeover_in).min()
    }
}

fn announcement(job: &SilentJob, now: OffsetDateTime) -> String {
    let SilentJob { id, worker_id, silent_for, takeover_in } = job;
    let owner = worker_id.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
    let (since, takeover) = (clock_time(now - *silent_for), clock_time(now + *takeover_in));
    format!("job {id}{owner}: silent since {since}, takeover at {takeover} UTC")
}

fn clock_time(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!("{:02}:{:02}", at.hour(), at.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_job_is_announced_with_the_time_of_its_takeover() {
        let job = SilentJob {
            id: JobId::new("j").unwrap(),
            worker_id: Some("rig".to_owned()),
            silent_for: Duration::from_secs(90),
            takeover_in: Duration::from_secs(150),
        };
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(3600 + 57 * 60 + 45);
        assert_eq!(announcement(&job, now), "job j (rig): silent since 01:56, takeover at 02:00 UTC");
    }
}
