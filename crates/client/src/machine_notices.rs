//! What workers say about machines that cost money for nothing, or could not work.

use jobs::machines::{MachineNotice, MachineState, notices};

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
    let MachineNotice { worker_id, machine, state, message, hint, .. } = notice;
    let what = match state {
        MachineState::Running => "has nothing to do, costs money, and cannot be ended",
        MachineState::Stopped => "is stopped, and its disk still costs money",
        MachineState::Ended => "was ended, because it could not work",
    };
    let text = format!("{machine} (worker {worker_id}) {what}: {message}");
    (printable(&text), printable(hint))
}
