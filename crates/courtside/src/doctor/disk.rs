//! Free space and the right to write, where videos, results and the library lie.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jobs::bucket::BucketLocation;

use super::{Check, OnCheck};
use client::atomic_file::{cannot, folder_of};
use client::failure::{Failure, Kind};
use client::settings::Settings;

const NAME: &str = "disk";
/// Below this, the next hour of video may not fit.
const LITTLE: u64 = 5_000_000_000;
/// Below this, nothing fits.
const NOTHING: u64 = 100_000_000;

/// Folders of one file system.
struct Disk {
    device: u64,
    free_bytes: u64,
    folders: Vec<String>,
}

pub(super) fn check(settings: &Settings, each: OnCheck<'_>) {
    let mut disks: Vec<Disk> = Vec::new();
    for (what, folder) in folders(settings) {
        let there = nearest(&folder);
        // An unnamed file leaves nothing behind.
        if let Err(error) = tempfile::tempfile_in(&there) {
            let failure = cannot("write in", &there, error).context(format!("{what} cannot grow"));
            each(Check::fail(NAME, &failure.hint("make the folder writable")));
            continue;
        }
        match (there.metadata(), rustix::fs::statvfs(&there)) {
            (Ok(meta), Ok(space)) => {
                let device = meta.dev();
                let folder = format!("{what} ({})", folder.display());
                match disks.iter_mut().find(|disk| disk.device == device) {
                    Some(disk) => disk.folders.push(folder),
                    None => {
                        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
                        disks.push(Disk { device, free_bytes, folders: vec![folder] });
                    }
                }
            }
            (Err(error), _) => each(Check::fail(NAME, &cannot("look at", &there, error))),
            (_, Err(error)) => each(Check::fail(NAME, &cannot("look at", &there, error.into()))),
        }
    }
    for disk in disks {
        each(judge(&disk));
    }
}

fn judge(disk: &Disk) -> Check {
    let message = format!("{} free for {}", shown(disk.free_bytes), disk.folders.join(", "));
    let hint =
        "free some space; `courtside rm JOB` and `courtside import --delete-video` remove what is not needed";
    match disk.free_bytes {
        0..NOTHING => Check::fail(NAME, &Failure::msg(Kind::Failed, message).hint(hint)),
        NOTHING..LITTLE => Check::warn(NAME, message, hint),
        _ => Check::ok(NAME, message),
    }
}

fn folders(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let mut folders = Vec::new();
    if let Ok(database) = store::database_path(&settings.database_url) {
        folders.push(("the library", folder_of(&database).to_owned()));
    }
    folders.push(("videos", settings.video_folder.clone()));
    folders.push(("work", settings.scratch()));
    if let BucketLocation::Folder(folder) = &settings.local {
        folders.push(("jobs", folder.clone()));
    }
    folders
}

/// The folder itself, or the nearest one above it that is there: it will be made in that.
pub(super) fn nearest(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    absolute.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// A size for people.
pub(super) fn shown(bytes: u64) -> String {
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
    fn a_folder_that_is_not_there_yet_is_judged_by_where_it_will_be() {
        let there = tempfile::tempdir().unwrap();
        assert_eq!(nearest(&there.path().join("a/b/c")), there.path());
    }
}
