//! Videos by the hash of their content, so that the same file is not stored twice.

use std::path::Path;

use jobs::transfer::FileDigest;
use store::{FileFingerprint, Library, Video as Row};

use super::{add_or_find, all, file_facts, find, is_same_file, locate};
use crate::failure::Outcome;
use crate::settings::Settings;

/// The newest video whose file is on this machine and has this content. Reads files of the same size whose hash is not
/// known, and remembers their hashes. `sha256` is in lower-case hexadecimal.
///
/// # Errors
/// Those of the library. A file that cannot be read is not the content.
pub fn find_stored(
    settings: &Settings,
    library: &Library,
    sha256: &str,
    size_bytes: u64,
) -> Outcome<Option<Row>> {
    for row in all(library)? {
        let is_other = row.file.sha256.as_deref().is_some_and(|known| known != sha256);
        let Some(path) = locate(settings, &row).filter(|_| !is_other) else { continue };
        let Ok(now) = file_facts(&path) else { continue };
        if now.size_bytes != i64::try_from(size_bytes).ok() {
            continue;
        }
        if row.file.sha256.is_some() && is_same_file(&row.file, &now) {
            return Ok(Some(row));
        }
        match FileDigest::of(&path) {
            Ok(digest) if digest.sha256 == sha256 => {
                record_hash(library, &row, now, digest.sha256)?;
                return find(library, row.id).map(Some);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(video = row.id, %error, "cannot compare a video with an upload"),
        }
    }
    Ok(None)
}

/// [`add_or_find`] for a file whose hash is known, which is recorded.
///
/// # Errors
/// Those of [`add_or_find`].
pub fn add_hashed(
    settings: &Settings,
    library: &mut Library,
    file: &Path,
    sha256: String,
) -> Outcome<(Row, bool)> {
    let (row, is_known) = add_or_find(settings, library, file, None)?;
    if row.file.sha256.is_none() {
        record_hash(library, &row, row.file.clone(), sha256)?;
    }
    Ok((find(library, row.id)?, is_known))
}

fn record_hash(library: &Library, row: &Row, file: FileFingerprint, sha256: String) -> Outcome<()> {
    let file = FileFingerprint { sha256: Some(sha256), ..file };
    Ok(library.set_video_fingerprint(row.id, row.n_frames, &file)?)
}
