//! Copying a model to a folder of its own: for an image, another machine, or a disk with little space.
//!
//! The folder appears complete or not at all. Links of the Hugging Face cache are followed, and only the files that
//! loading needs are copied.

use std::fs::File;
use std::path::{Path, PathBuf};

use client::atomic_file::cannot;
use client::failure::{Failure, Kind, Outcome};
use jobs::transfer::FileDigest;
use sam3::Model;

use crate::failure::EngineResult;
use crate::model_folder::{OPTIONAL_FILES, SMALL_FILES, WEIGHTS, WEIGHTS_INDEX, shards_of};

/// Number type of the copied weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedWeights {
    /// As they are.
    Unchanged,
    /// bfloat16 where the engine computes in bfloat16 on a GPU: half the size, and the same results there.
    Bf16,
}

/// The outcome of [`copy`].
#[derive(Debug)]
pub struct CopiedModel {
    /// Names of the files, in the order in which they were written.
    pub files: Vec<String>,
    /// Their size in bytes, in total.
    pub size_bytes: u64,
}

/// Copies a model to the folder `to`, which must not exist or be empty, and checks the copy. `progress` gets the name of
/// each file before it is written.
///
/// # Errors
/// If `from` is not a valid model, `to` has files, or a file cannot be written as it was read.
pub fn copy(from: &Path, to: &Path, weights: CopiedWeights, progress: &dyn Fn(&str)) -> Outcome<CopiedModel> {
    Model::check(from).or_failure()?;
    check_empty(to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|e| cannot("create", parent, e))?;
    let partial = tempfile::Builder::new().prefix(".courtside-model-").tempdir_in(parent);
    let partial = partial.map_err(|e| cannot("write in", parent, e))?;
    let mut copied = CopiedModel { files: Vec::new(), size_bytes: 0 };
    for name in names_of(from, weights)? {
        progress(&name);
        let target = partial.path().join(&name);
        match name == WEIGHTS && weights == CopiedWeights::Bf16 {
            true => Model::write_bf16_weights(from, &target).or_failure()?,
            false => copy_file(&from.join(&name), &target)?,
        }
        copied.size_bytes += sync(&target)?;
        copied.files.push(name);
    }
    Model::check(partial.path()).or_failure()?;
    make_readable(partial.path())?;
    let partial = partial.keep();
    // An empty folder is replaced.
    std::fs::rename(&partial, to).map_err(|e| {
        let _ = std::fs::remove_dir_all(&partial);
        cannot("create", to, e)
    })?;
    Ok(copied)
}

fn check_empty(to: &Path) -> Outcome<()> {
    match std::fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::msg(Kind::Failed, format!("{} is not empty", to.display()))
                .hint("name a folder that does not exist")),
        },
        Err(_) if !to.exists() => Ok(()),
        Err(e) => Err(cannot("read", to, e)),
    }
}

/// The files that a copy has.
fn names_of(from: &Path, weights: CopiedWeights) -> Outcome<Vec<String>> {
    let optional = OPTIONAL_FILES.iter().filter(|name| from.join(name).is_file());
    let mut names: Vec<String> = SMALL_FILES.iter().chain(optional).map(|name| (*name).to_owned()).collect();
    if weights == CopiedWeights::Bf16 || from.join(WEIGHTS).is_file() {
        names.push(WEIGHTS.to_owned());
        return Ok(names);
    }
    let index = from.join(WEIGHTS_INDEX);
    let text = std::fs::read_to_string(&index).map_err(|e| cannot("read", &index, e))?;
    names.push(WEIGHTS_INDEX.to_owned());
    names.extend(shards_of(&text));
    Ok(names)
}

/// Copies a file, and compares what was written with what is there.
fn copy_file(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::copy(from, to).map_err(|e| cannot("copy", from, e))?;
    if FileDigest::of(to)? == FileDigest::of(from)? {
        return Ok(());
    }
    let message = format!("{} is not what was read from {}", to.display(), from.display());
    Err(Failure::msg(Kind::Failed, message).hint("check the disk, and run the command again"))
}

/// Makes sure that a file is on the disk. Returns its size in bytes.
fn sync(file: &Path) -> Outcome<u64> {
    let synced = File::open(file).and_then(|opened| opened.sync_all().and_then(|()| opened.metadata()));
    synced.map(|metadata| metadata.len()).map_err(|e| cannot("write", file, e))
}

/// A temporary folder is its owner's only; a model is for all users, such as that of a container.
#[cfg(unix)]
fn make_readable(folder: &Path) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt;
    let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    set(folder, 0o755).map_err(|e| cannot("write", folder, e))?;
    let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
    entries?
        .iter()
        .map(std::fs::DirEntry::path)
        .try_for_each(|file: PathBuf| set(&file, 0o644).map_err(|e| cannot("write", &file, e)))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> Outcome<()> {
    Ok(())
}
