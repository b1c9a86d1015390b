//! The folder of the library, which holds its database, its bucket, its videos and `.env`.
//!
//! It is named by `--library` or `COURTSIDE_HOME`. Otherwise it is the nearest folder that has a library, searched
//! upwards from the working folder as git does, and without one the working folder itself.

use std::path::{Path, PathBuf};

use super::env_file::EnvFile;
use super::variables::{self, Lookup, Part, VARIABLES};
use crate::failure::{Failure, Kind, Outcome};

/// Name of the settings file in the folder of a library.
const ENV_FILE: &str = ".env";
/// Name of the database of a library that no setting names.
const DATABASE: &str = "basketball_analyzer.db";

/// How the folder of the library was determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// `--library`.
    Flag,
    /// `COURTSIDE_HOME`.
    Variable,
    /// It is above the working folder and has a library.
    Found,
    /// The working folder.
    WorkingFolder,
}

/// The folder of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    folder: PathBuf,
    source: Source,
}

impl Home {
    /// Determines the folder, with the value of `--library`, if it was given.
    ///
    /// # Errors
    /// If the flag or `COURTSIDE_HOME` name something that is not a folder.
    pub fn find(flag: Option<&Path>, environment: Lookup<'_>) -> Outcome<Self> {
        if let Some(folder) = flag {
            return named(folder, Source::Flag, Kind::Usage, "--library");
        }
        let variable = &variables::COURTSIDE_HOME;
        if let Some(folder) = variable.read(environment)? {
            return named(&folder, Source::Variable, Kind::Config, variable.variable.name);
        }
        let is_database_named = variables::DATABASE_URL.variable.is_set(environment);
        let here = std::env::current_dir().ok().filter(|_| !is_database_named);
        Ok(match here.and_then(|here| find_upwards(&here)) {
            Some(folder) => Self { folder, source: Source::Found },
            None => Self { folder: PathBuf::new(), source: Source::WorkingFolder },
        })
    }

    /// The folder, unless it is the working folder and no setting names it.
    pub fn folder(&self) -> Option<&Path> {
        (self.source != Source::WorkingFolder).then_some(&*self.folder)
    }

    /// Whether `--library` named it, which has precedence over `DATABASE_URL` in the environment.
    pub fn is_flag(&self) -> bool {
        self.source == Source::Flag
    }

    /// The settings files to read, the one with precedence first.
    pub fn env_files(&self) -> Vec<PathBuf> {
        let own = self.folder.join(ENV_FILE);
        match self.source {
            Source::Found => vec![PathBuf::from(ENV_FILE), own],
            _ => vec![own],
        }
    }
}

fn named(folder: &Path, source: Source, kind: Kind, name: &str) -> Outcome<Home> {
    if folder.is_dir() {
        return Ok(Home { folder: std::path::absolute(folder)?, source });
    }
    let shown = folder.display();
    let problem = if folder.exists() { "is not a folder" } else { "does not exist" };
    let hint = match folder.exists() {
        true => "name the folder that holds the database; DATABASE_URL names a database file".to_owned(),
        false => format!("create it with `mkdir -p {shown}`, or name the folder of a library"),
    };
    Err(Failure::msg(kind, format!("{name} names {shown}, which {problem}")).hint(hint))
}

/// The nearest folder above `start` that has a library; `None` also if that is `start`. Folders that other users can
/// write to, or that are on another file system, end the search.
fn find_upwards(start: &Path) -> Option<PathBuf> {
    if has_library(start) {
        return None;
    }
    let above = start.ancestors().skip(1);
    above
        .take_while(|folder| is_trusted(folder, start))
        .find(|folder| has_library(folder))
        .map(Path::to_owned)
}

/// Whether a folder has a database, or a `.env` that says where the database or the bucket is.
fn has_library(folder: &Path) -> bool {
    let names_library = |name: &str| {
        let variable = VARIABLES.iter().find(|variable| variable.name == name);
        variable.is_some_and(|variable| matches!(variable.part, Part::Bucket | Part::Library))
    };
    let settings = || EnvFile::read(&folder.join(ENV_FILE), &|_| None).unwrap_or_default();
    folder.join(DATABASE).is_file() || settings().values.iter().any(|(name, _)| names_library(name))
}

/// Whether only this user and the administrator put files in a folder, and it is on the file system of `start`.
#[cfg(unix)]
fn is_trusted(folder: &Path, start: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o002;
    let (Ok(folder), Ok(start)) = (folder.metadata(), start.metadata()) else { return false };
    let is_own = folder.uid() == 0 || folder.uid() == effective_user();
    is_own && folder.mode() & OTHERS_WRITE == 0 && folder.dev() == start.dev()
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "asks for the id of the user; cannot fail")]
fn effective_user() -> u32 {
    unsafe { libc::geteuid() }
}

#[cfg(not(unix))]
fn is_trusted(_: &Path, _: &Path) -> bool {
    true
}

/// A database URL whose relative path starts at `folder` instead of the working folder.
pub(super) fn url_in(url: &str, folder: &Path) -> String {
    let (scheme, path) = match url.split_once(":///") {
        Some((scheme, path)) => (format!("{scheme}:///"), path),
        None if url.contains("://") => return url.to_owned(),
        None => (String::new(), url),
    };
    if path.is_empty() || path.starts_with(['/', ':', '?']) {
        return url.to_owned();
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    format!("{scheme}{}", folder.join(path).display())
}

/// The value of a setting in the `.env` of a folder: its relative path starts at that folder.
pub(super) fn value_in(name: &str, value: String, folder: &Path) -> String {
    const FOLDERS: [&str; 4] = ["VIDEO_STORAGE_PATH", "CLOUD_MODEL_PATH", "HF_HUB_CACHE", "HF_HOME"];
    match name {
        _ if folder.as_os_str().is_empty() => value,
        "DATABASE_URL" => url_in(&value, folder),
        _ if FOLDERS.contains(&name) && !value.starts_with('~') => folder.join(&value).display().to_string(),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_of_a_settings_file_start_at_its_folder() {
        let folder = Path::new("/games");
        for (name, value, expected) in [
            ("DATABASE_URL", "sqlite:///./l.db", "sqlite:////games/l.db"),
            ("DATABASE_URL", "sqlite+aiosqlite:///data/l.db", "sqlite+aiosqlite:////games/data/l.db"),
            ("DATABASE_URL", "sqlite:////l.db", "sqlite:////l.db"),
            ("DATABASE_URL", "l.db", "/games/l.db"),
            ("DATABASE_URL", "postgresql://host/l", "postgresql://host/l"),
            ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///:memory:"),
            ("VIDEO_STORAGE_PATH", "videos", "/games/videos"),
            ("VIDEO_STORAGE_PATH", "/videos", "/videos"),
            ("HF_HOME", "~/hf", "~/hf"),
            ("SAM3_PROMPT", "ball", "ball"),
        ] {
            assert_eq!(value_in(name, value.to_owned(), folder), expected, "{name}");
            assert_eq!(value_in(name, value.to_owned(), Path::new("")), value, "{name}");
        }
    }

    #[test]
    fn a_library_is_found_upwards_by_its_database_or_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let start = root.join("a/b/c");
        std::fs::create_dir_all(&start).unwrap();
        assert_eq!(find_upwards(&start), None);
        std::fs::write(root.join(".env"), "DATABASE_URL=sqlite:///l.db\n").unwrap();
        assert_eq!(find_upwards(&start), Some(root.to_owned()));
        // Settings of other programs do not make a library.
        std::fs::write(root.join("a/.env"), "AWS_PROFILE=x\nSAM3_PROMPT=ball\n").unwrap();
        assert_eq!(find_upwards(&start), Some(root.to_owned()));
        std::fs::write(root.join("a/basketball_analyzer.db"), "").unwrap();
        assert_eq!(find_upwards(&start), Some(root.join("a")));
        std::fs::write(start.join("basketball_analyzer.db"), "").unwrap();
        assert_eq!(find_upwards(&start), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_can_write_to_is_not_searched() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let start = folder.path().join("a");
        std::fs::create_dir(&start).unwrap();
        std::fs::write(folder.path().join(".env"), "R2_BUCKET_NAME=theirs\n").unwrap();
        assert_eq!(find_upwards(&start), Some(folder.path().to_owned()));
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(find_upwards(&start), None);
    }
}
