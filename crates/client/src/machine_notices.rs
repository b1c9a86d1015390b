//! What workers say about machines that cost money for nothing.

use jobs::machines::{MachineNotice, notices};

use crate::Client;
use crate::terminal::printable;

/// The notices in all buckets. A bucket that does not respond has none: its jobs cannot be listed either, which is
/// reported.
pub async fn machine_notices(client: &Client) -> Vec<MachineNotice> {
    let mut found = Vec::new();
    for target in client.bucket_targets() {
        if let Ok(bucket) = client.bucket(target) {
            found.extend(notices(&*bucket).await.unwrap_or_default());
        }
    }
    found
}

/// A notice on one line, and what to do about it.
pub fn describe(notice: &MachineNotice) -> (String, String) {
    let MachineNotice { worker_id, machine, message, hint, .. } = notice;
    let text = format!(
        "{machine} (worker {worker_id}) has nothing to do, costs money, and cannot be ended: {message}"
    );
    (printable(&text), printable(hint))
}
