//! Abandoning an unfinished submission.

use std::path::Path;

use jobs::transfer;
use store::{JobRow, JobStatus, JobUpdate, Library};

use super::files::{journal_path, lock_submission, video_key};
use super::row::submission_of;
use crate::failure::Outcome;
use crate::{Client, parse_job_id};

/// Cancels an unfinished submission and removes the uploaded parts of its video from the bucket.
///
/// # Errors
/// With [`jobs::Error::Refused`] as its cause while another process uploads the job.
pub async fn abandon(client: &Client, library: &mut Library, row: &JobRow) -> Outcome<()> {
    let id = parse_job_id(&row.id)?;
    let journal = journal_path(client, &id);
    let _lock = lock_submission(&journal, &id)?;
    let Some(submission) = submission_of(row) else { return Ok(()) };
    let cancelled = JobUpdate {
        status: Some(JobStatus::Cancelled),
        progress_message: Some("cancelled".to_owned()),
        completed_at: Some(client.env.utc()),
        ..JobUpdate::default()
    };
    library.update_job(&row.id, &cancelled)?;
    let admin = client.admin(submission.target.unwrap_or_else(|| client.default_target()))?;
    // Another process may have created the manifest just before this one took the lock.
    match admin.cancel(&id).await {
        Err(jobs::Error::NoJob { .. }) => {}
        other => return Ok(other.map(|_| ())?),
    }
    transfer::abort_upload(&**admin.bucket(), &journal).await?;
    if let Some(video) = row.video_id.map(|id| library.video(id)).transpose()?.flatten() {
        let key = video_key(&id, Path::new(&video.file_path));
        if !admin.is_video_needed(&key, &id).await? {
            admin.bucket().delete(&key).await?;
        }
    }
    Ok(())
}
