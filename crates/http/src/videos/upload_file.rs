//! The file of an uploaded video: written under a temporary name, then given a safe and unused name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use client::atomic_file::NewFile;
use client::failure::Outcome;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// Length limit of a file name in bytes, which leaves room for a number within the 255 of most file systems.
const MAX_NAME_BYTES: usize = 180;
/// Numbers tried for a file whose name is taken.
const MAX_NUMBER: u32 = 10_000;
/// Age at which a temporary file can no longer have a writer.
const STALE_AGE: Duration = Duration::from_secs(24 * 3600);
/// Start of the names of temporary files.
const TEMPORARY_PREFIX: &str = ".courtside-upload-";

/// A file that was received completely.
pub(super) struct ReceivedFile {
    pub(super) file: NewFile,
    /// SHA-256 of its content, in hexadecimal.
    pub(super) sha256: String,
    pub(super) n_bytes: u64,
}

/// Writes chunks to a temporary file in the folder until the sender is dropped, then syncs it to disk. The file
/// is removed when the returned value is dropped.
pub(super) fn write(folder: &Path, mut chunks: mpsc::Receiver<Bytes>) -> Outcome<ReceivedFile> {
    let mut file = NewFile::create_in(folder, TEMPORARY_PREFIX)?;
    let (mut hasher, mut n_bytes) = (Sha256::new(), 0);
    while let Some(chunk) = chunks.blocking_recv() {
        file.append(&chunk)?;
        hasher.update(&chunk);
        n_bytes += chunk.len() as u64;
    }
    file.sync()?;
    Ok(ReceivedFile { file, sha256: format!("{:x}", hasher.finalize()), n_bytes })
}

/// Gives a file its final name, or the next unused one. Never replaces a file.
pub(super) fn commit(file: NewFile, name: &str) -> Outcome<PathBuf> {
    file.commit((1..MAX_NUMBER).map(|number| numbered(name, number)))
}

/// The name with a number: `game.mp4`, `game-2.mp4`, `game-3.mp4`.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (1, _) => name.to_owned(),
        (n, Some((stem, extension))) => format!("{stem}-{n}.{extension}"),
        (n, None) => format!("{name}-{n}"),
    }
}

/// A safe version of the client's file name: no folders, not hidden, without characters that are special to
/// shells or other file systems.
pub(super) fn safe_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean = |c: char| match c {
        c if c.is_control() => None,
        '<' | '>' | ':' | '"' | '|' | '?' | '*' | '%' | '#' | '$' | '`' => Some('_'),
        // Marks that reverse the direction of text in a listing.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c => Some(c),
    };
    let name: String = last.chars().filter_map(clean).collect();
    let name = name.trim().trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']);
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if (1..=8).contains(&extension.len()) => (stem, extension),
        _ => (name, "mp4"),
    };
    let mut end = stem.len().min(MAX_NAME_BYTES);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = stem.get(..end).filter(|stem| !stem.is_empty()).unwrap_or("video");
    format!("{stem}.{extension}")
}

/// Removes temporary files that a crashed server left in the folder.
pub(crate) fn remove_stale(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes());
        let age =
            entry.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_temporary && age.is_ok_and(|age| age > STALE_AGE) {
            // Another server may remove it at the same time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_file_names_safe() {
        for (given, want) in [
            ("game.mp4", "game.mp4"),
            ("../../etc/cron.d/game.mkv", "game.mkv"),
            ("C:\\Users\\me\\final game.MOV", "final game.MOV"),
            ("", "video.mp4"),
            ("..", "video.mp4"),
            (".mp4", "mp4.mp4"),
            (".hidden.mp4", "hidden.mp4"),
            ("-rf.mp4", "rf.mp4"),
            ("a\r\nSet-Cookie: x.mp4", "aSet-Cookie_ x.mp4"),
            ("$(reboot)`.mp4", "_(reboot)_.mp4"),
            ("\u{202e}4pm.exe", "4pm.exe"),
            ("Finále č. 3.mp4", "Finále č. 3.mp4"),
            ("no extension", "no extension.mp4"),
            ("trailing dot.", "trailing dot.mp4"),
        ] {
            assert_eq!(safe_name(given), want, "{given:?}");
        }
        let long = safe_name(&format!("{}.mp4", "ž".repeat(300)));
        assert!(long.len() <= MAX_NAME_BYTES + 4 && long.ends_with("ž.mp4"), "{long}");
    }

    #[test]
    fn numbers_a_name_that_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let add = |content: &str| {
            let mut file = NewFile::create_in(folder.path(), TEMPORARY_PREFIX).unwrap();
            file.append(content.as_bytes()).unwrap();
            commit(file, "game.mp4").unwrap()
        };
        let (first, second) = (add("first"), add("second"));
        assert_eq!(first.file_name().unwrap(), "game.mp4");
        assert_eq!(second.file_name().unwrap(), "game-2.mp4");
        assert_eq!(std::fs::read(first).unwrap(), b"first");
    }
}
