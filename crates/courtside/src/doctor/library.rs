//! The library's file: whether it opens, and what is in it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use store::{JobFilter, Library};

use super::{Check, OnCheck};
use client::atomic_file::{cannot, folder_of};
use client::failure::{Failure, Outcome};
use client::settings::Settings;

const NAME: &str = "database";

pub(super) fn check(settings: &Settings, each: OnCheck<'_>) {
    each(look(settings).unwrap_or_else(|failure| Check::fail(NAME, &failure)));
}

fn look(settings: &Settings) -> Outcome<Check> {
    let path = store::database_path(&settings.database_url)?;
    let Some(library) = Library::open_existing(&settings.database_url)? else {
        let folder = folder_of(&path);
        // An unnamed file leaves nothing behind.
        tempfile::tempfile_in(folder).map_err(|e| {
            cannot("write in", folder, e).hint("make the folder, or name another one in DATABASE_URL")
        })?;
        return Ok(Check::ok(NAME, format!("{} is not there yet and will be made", path.display())));
    };
    let n_videos = library.videos(1, 1)?.total;
    let jobs = library.jobs(&JobFilter::default())?;
    let n_imported = jobs.iter().filter(|job| job.imported).count();
    let size = path.metadata().map_err(|e| cannot("read", &path, e))?.len();
    let what = format!(
        "{}: writable, {}, {n_videos} videos, {} jobs, {n_imported} of them imported",
        path.display(),
        super::disk::shown(size),
        jobs.len()
    );
    Ok(match is_write_ahead(&path)? {
        true => Check::ok(NAME, format!("{what}, write-ahead log")),
        false => Check::warn(
            NAME,
            format!("{what}, no write-ahead log: readers and writers wait for each other"),
            "close the other programs that have it open; keep it on a disk of this machine",
        ),
    })
}

/// Byte 18 of a database's header is 2 where it has a write-ahead log (<https://sqlite.org/fileformat.html>).
fn is_write_ahead(path: &Path) -> Outcome<bool> {
    let mut header = [0; 19];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.map_err(|e| Failure::from(e).context(format!("cannot read {}", path.display())))?;
    Ok(header[18] == 2)
}
