//! Which uploads a server does in the background. After a restart it resumes those, and no others: an upload that a
//! command began is the user's to resume.

use std::path::PathBuf;

use jobs::JobId;

use super::files::journal_path;
use crate::Client;
use crate::atomic_file::{cannot, folder_of};
use crate::failure::Outcome;

/// Records that a server uploads the video of a job in the background.
pub fn mark_background(client: &Client, id: &JobId) -> Outcome<()> {
    let mark = mark_path(client, id);
    std::fs::create_dir_all(folder_of(&mark)).map_err(|e| cannot("create", folder_of(&mark), e))?;
    std::fs::write(&mark, "").map_err(|e| cannot("write", &mark, e))
}

/// Records that the upload ended, however it did.
pub fn unmark_background(client: &Client, id: &JobId) {
    // A command that began the upload did not write it.
    let _ = std::fs::remove_file(mark_path(client, id));
}

/// Whether a server began the upload, and was stopped before it ended.
pub fn is_background(client: &Client, id: &JobId) -> bool {
    mark_path(client, id).exists()
}

fn mark_path(client: &Client, id: &JobId) -> PathBuf {
    journal_path(client, id).with_extension("server")
}
