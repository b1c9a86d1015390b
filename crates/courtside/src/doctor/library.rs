//! The database of the library: it opens, it is writable, and it uses a write-ahead log.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use store::{JobFilter, Library};

use super::{Check, OnCheck};
use client::atomic_file::{cannot, folder_of};
use client::failure::{Failure, Outcome};
use client::settings::Settings;
use client::terminal::counted;

const NAME: &str = "database";

pub(super) fn check(settings: &Settings, on_check: OnCheck<'_>) {
    on_check(inspect(settings).unwrap_or_else(|failure| Check::fail(NAME, &failure)));
}

/// Which folder the library is in, and why.
pub(super) fn describe_home(settings: &Settings) -> Check {
    let here = std::env::current_dir().unwrap_or_default();
    let message = match &settings.home {
        None => format!("in the working folder {}, unless DATABASE_URL names another", here.display()),
        Some(home) if *home != here && here.starts_with(home) => {
            format!("in {}, which is above the working folder", home.display())
        }
        Some(home) => format!("in {}, as --library or COURTSIDE_HOME say", home.display()),
    };
    Check::ok("library", message)
}

fn inspect(settings: &Settings) -> Outcome<Check> {
    let path = store::database_path(&settings.database_url)?;
    let Some(library) = Library::open_existing(&settings.database_url)? else {
        let folder = folder_of(&path);
        // The file has no name and leaves nothing behind.
        tempfile::tempfile_in(folder).map_err(|e| {
            cannot("write in", folder, e)
                .hint("create the folder, or set DATABASE_URL to a file in another folder")
        })?;
        let message = format!("{} does not exist yet; the first submitted video creates it", path.display());
        return Ok(Check::ok(NAME, message));
    };
    let n_videos = library.videos(store::VideoFilter::default(), 1, 1)?.total;
    let jobs = library.jobs(&JobFilter::default())?;
    let n_imported = jobs.iter().filter(|job| job.imported).count();
    let size = path.metadata().map_err(|e| cannot("read", &path, e))?.len();
    let summary = format!(
        "{}: writable, {}, {}, {}, {n_imported} imported",
        path.display(),
        super::disk::format_bytes(size),
        counted(n_videos, "video"),
        counted(jobs.len(), "job")
    );
    if !library.is_set_up()? {
        let later = "the analyzer app's; the first submitted video adds courtside's own tables";
        return Ok(Check::ok(NAME, format!("{summary}, {later}")));
    }
    Ok(match uses_write_ahead_log(&path)? {
        true => Check::ok(NAME, format!("{summary}, write-ahead log")),
        false => Check::warn(
            NAME,
            format!("{summary}, no write-ahead log: readers and writers block each other"),
            "close other programs that have the database open, and keep it on a local disk",
        ),
    })
}

/// Whether byte 18 of the database header is 2 (<https://sqlite.org/fileformat.html>).
fn uses_write_ahead_log(path: &Path) -> Outcome<bool> {
    let mut header = [0; 19];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.map_err(|e| Failure::from(e).context(format!("cannot read {}", path.display())))?;
    Ok(header[18] == 2)
}
