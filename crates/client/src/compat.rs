//! Old names, until the other crates use the new ones.
#![expect(missing_docs, reason = "temporary")]

pub mod changes {
    pub use crate::is_unknown_job as is_unknown;
    pub use crate::job_actions::*;
    pub fn likely_place(client: &crate::Client, row: Option<&store::JobRow>) -> jobs::manifest::Target {
        client.likely_target(row)
    }
}
pub use crate::parse_job_id as job_id;
impl crate::Client {
    pub async fn find(
        &self,
        id: &jobs::JobId,
    ) -> crate::failure::Outcome<(jobs::admin::Admin, jobs::manifest::Manifest)> {
        self.find_job(id).await
    }
    pub async fn find_from(
        &self,
        id: &jobs::JobId,
        likely: jobs::manifest::Target,
    ) -> crate::failure::Outcome<(jobs::admin::Admin, jobs::manifest::Manifest)> {
        self.find_job_from(id, likely).await
    }
    pub fn places(&self) -> Vec<jobs::manifest::Target> {
        self.bucket_targets()
    }
}
impl crate::atomic_file::AtomicFile {
    pub fn keep(self) -> crate::failure::Outcome<()> {
        self.commit()
    }
}
impl crate::export::Output {
    pub fn keep(self) -> crate::failure::Outcome<()> {
        self.commit()
    }
}
impl crate::overview::Watcher<'_> {
    pub async fn look(
        &mut self,
        library: &mut store::Library,
    ) -> crate::failure::Outcome<crate::overview::Overview> {
        self.poll(library).await
    }
}
impl crate::estimate::Estimate {
    pub fn of(
        library: &mut store::Library,
        video_id: i64,
        parameters: &jobs::manifest::Parameters,
        given: crate::estimate::EstimateInputs,
    ) -> crate::failure::Outcome<Self> {
        Self::new(library, video_id, parameters, given)
    }
}
