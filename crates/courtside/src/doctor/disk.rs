//! Free space and write access in the folders of the library, videos, temporary files and local jobs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jobs::bucket::BucketLocation;

use super::{Check, OnCheck};
use client::atomic_file::{cannot, folder_of};
use client::failure::{Failure, Kind};
use client::settings::Settings;

const NAME: &str = "disk";
/// Free space that causes a warning: an hour of video may not fit.
const WARN_BYTES: u64 = 5_000_000_000;
/// Free space that is too little for any work.
const FAIL_BYTES: u64 = 100_000_000;

/// The folders on one file system.
struct Disk {
    device: u64,
    free_bytes: u64,
    folders: Vec<String>,
}

pub(super) fn check(settings: &Settings, on_check: OnCheck<'_>) {
    let mut disks: Vec<Disk> = Vec::new();
    for (purpose, folder) in folders(settings) {
        let existing = nearest_existing(&folder);
        // The file has no name and leaves nothing behind.
        if let Err(error) = tempfile::tempfile_in(&existing) {
            let failure =
                cannot("write in", &existing, error).context(format!("no write access for {purpose}"));
            on_check(Check::fail(NAME, &failure.hint("make the folder writable")));
            continue;
        }
        match (existing.metadata(), rustix::fs::statvfs(&existing)) {
            (Ok(meta), Ok(space)) => {
                let device = meta.dev();
                let folder = format!("{purpose} ({})", folder.display());
                match disks.iter_mut().find(|disk| disk.device == device) {
                    Some(disk) => disk.folders.push(folder),
                    None => {
                        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
                        disks.push(Disk { device, free_bytes, folders: vec![folder] });
                    }
                }
            }
            (Err(error), _) => on_check(Check::fail(NAME, &cannot("read", &existing, error))),
            (_, Err(error)) => on_check(Check::fail(NAME, &cannot("read", &existing, error.into()))),
        }
    }
    for disk in disks {
        on_check(judge(&disk));
    }
}

fn judge(disk: &Disk) -> Check {
    let message = format!("{} free for {}", format_bytes(disk.free_bytes), disk.folders.join(", "));
    let hint = "free some space; `courtside rm JOB` and `courtside import --all --delete-video` delete data that is no \
                longer needed";
    match disk.free_bytes {
        0..FAIL_BYTES => Check::fail(NAME, &Failure::msg(Kind::Failed, message).hint(hint)),
        FAIL_BYTES..WARN_BYTES => Check::warn(NAME, message, hint),
        _ => Check::ok(NAME, message),
    }
}

/// The folders that Courtside writes to, each with its purpose.
fn folders(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let mut folders = Vec::new();
    if let Ok(database) = store::database_path(&settings.database_url) {
        folders.push(("the library", folder_of(&database).to_owned()));
    }
    folders.push(("videos", settings.video_folder.clone()));
    folders.push(("temporary files", settings.scratch()));
    if let BucketLocation::Folder(folder) = &settings.local {
        folders.push(("local jobs", folder.clone()));
    }
    folders
}

/// The folder itself, or the nearest parent that exists, in which it would be created.
pub(super) fn nearest_existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// A size with a decimal unit, such as `1.5 GB`.
pub(super) fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_full_disk_fails_and_a_nearly_full_one_warns() {
        let disk = |free_bytes| Disk { device: 1, free_bytes, folders: vec!["videos (./videos)".into()] };
        assert_eq!(judge(&disk(0)).status, Level::Fail);
        assert_eq!(judge(&disk(99_999_999)).status, Level::Fail);
        assert_eq!(judge(&disk(100_000_000)).status, Level::Warn);
        assert_eq!(judge(&disk(5_000_000_000)).status, Level::Ok);
        assert_eq!(judge(&disk(u64::MAX)).status, Level::Ok);
    }

    #[test]
    fn a_missing_folder_is_checked_through_its_nearest_existing_parent() {
        let parent = tempfile::tempdir().unwrap();
        assert_eq!(nearest_existing(&parent.path().join("a/b/c")), parent.path());
    }
}
