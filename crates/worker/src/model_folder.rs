//! Where the checkpoint is: `--model`, `CLOUD_MODEL_PATH`, `/models/sam3`, the Hugging Face cache, and at
//! last a download.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};

use client::atomic_file::folder_of;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::notify;

/// The checkpoint on the hub.
const REPO: &str = "facebook/sam3";
/// Where access to it is asked for.
const PAGE: &str = "https://huggingface.co/facebook/sam3";
/// Where images and older workers keep it.
const DEFAULT_FOLDER: &str = "/models/sam3";
/// What a checkpoint folder must hold beside its weights.
const SMALL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "processor_config.json"];
/// What it may hold.
const OPTIONAL_FILES: [&str; 1] = ["tokenizer_config.json"];
const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// Times that a download whose connection breaks off is taken up again.
const RETRIES: usize = 5;

/// Finds the checkpoint folder, downloading it if it is nowhere. `named` is the one on the command line.
pub fn find(named: Option<&Path>) -> Outcome<PathBuf> {
    match local(named)? {
        Some(folder) => Ok(folder),
        None => download(),
    }
}

/// Finds the checkpoint folder on this machine; `None` if it is to be downloaded.
///
/// # Errors
/// If a folder was named, and is none.
pub fn local(named: Option<&Path>) -> Outcome<Option<PathBuf>> {
    if let Some(folder) = named {
        return existing(folder, "").map(Some);
    }
    if let Some(folder) = std::env::var_os("CLOUD_MODEL_PATH").filter(|v| !v.is_empty()) {
        return existing(Path::new(&folder), " (from CLOUD_MODEL_PATH)").map(Some);
    }
    let default = Path::new(DEFAULT_FOLDER);
    if default.is_dir() {
        return Ok(Some(default.to_owned()));
    }
    Ok(newest_snapshot(&hub_cache()))
}

/// Whether `HF_TOKEN` is set.
pub fn has_token() -> bool {
    token().is_some()
}

/// Asks the hub for the first byte of a small file: whether the checkpoint could be downloaded.
///
/// # Errors
/// Saying whether access or the connection is missing.
pub fn check_access() -> Outcome<()> {
    let asked = builder().with_progress(false).build().and_then(|api| {
        let url = api.model(REPO.to_owned()).url(SMALL_FILES[0]);
        api.metadata(&url)
    });
    match asked {
        Ok(_) => Ok(()),
        Err(error) if matches!(status(&error), Some(401 | 403)) => Err(remote(error)),
        Err(error) => {
            Err(Failure::new(Kind::Remote, error).context("the Hugging Face hub cannot be asked for it"))
        }
    }
}

fn token() -> Option<String> {
    std::env::var("HF_TOKEN").ok().filter(|t| !t.is_empty())
}

fn builder() -> ApiBuilder {
    let builder = ApiBuilder::from_env().with_cache_dir(hub_cache());
    match token() {
        Some(token) => builder.with_token(Some(token)),
        None => builder,
    }
}

fn existing(folder: &Path, source: &str) -> Outcome<PathBuf> {
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    let what = if folder.exists() { "is not a folder" } else { "does not exist" };
    let message = format!("the checkpoint folder {}{source} {what}", folder.display());
    Err(Failure::msg(Kind::Config, message)
        .hint("it is the folder that holds config.json and model.safetensors"))
}

/// The hub's cache folder: `HF_HUB_CACHE`, `$HF_HOME/hub`, `~/.cache/huggingface/hub`.
fn hub_cache() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("HF_HUB_CACHE").or_else(|| Some(var("HF_HOME")?.join("hub"))).unwrap_or_else(|| {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
        home.join(".cache/huggingface/hub")
    })
}

/// The newest snapshot in a cache that holds every file.
fn newest_snapshot(cache: &Path) -> Option<PathBuf> {
    let snapshots = cache.join(format!("models--{}", REPO.replace('/', "--"))).join("snapshots");
    let folders = std::fs::read_dir(snapshots).ok()?.filter_map(|entry| entry.ok().map(|e| e.path()));
    let complete = folders.filter(|folder| is_complete(folder));
    complete.max_by_key(|folder| std::fs::metadata(folder).and_then(|m| m.modified()).ok())
}

/// Whether a folder holds every file that loading needs.
fn is_complete(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    if !SMALL_FILES.iter().all(|name| has(name)) {
        return false;
    }
    if has(WEIGHTS) {
        return true;
    }
    let Ok(index) = std::fs::read_to_string(folder.join(WEIGHTS_INDEX)) else { return false };
    let shards = shards_of(&index);
    !shards.is_empty() && shards.iter().all(|shard| has(shard))
}

/// File names in the `weight_map` of an index.
fn shards_of(index: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(index).unwrap_or_default();
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let mut names: Vec<String> =
        map.into_iter().flat_map(|m| m.values()).filter_map(|v| v.as_str().map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

/// Downloads the checkpoint into the hub's cache; what arrived of an interrupted download is kept and
/// continued.
fn download() -> Outcome<PathBuf> {
    notify(format!("no checkpoint here; downloading {REPO} to {}", hub_cache().display()));
    let repo = builder().with_progress(true).build().map_err(remote)?.model(REPO.to_owned());
    // If the hub has a newer revision than the files that an earlier download left, the first round brings
    // some of the old and some of the new, and the second completes the new.
    for _ in 0..2 {
        let folder = fetch(&repo)?;
        if is_complete(&folder) {
            return Ok(folder);
        }
    }
    Err(Failure::msg(Kind::Remote, format!("{REPO} changes while it is downloaded"))
        .hint("run the command again"))
}

/// Gets every file that is not in the cache; the folder of the last one.
fn fetch(repo: &ApiRepo) -> Outcome<PathBuf> {
    let mut last = PathBuf::new();
    for name in SMALL_FILES {
        last = get(repo, name)?;
    }
    for name in OPTIONAL_FILES {
        // A checkpoint without it is whole.
        let _ = repo.get(name);
    }
    match get_resuming(repo, WEIGHTS) {
        Ok(path) => last = path,
        Err(error) if status(&error) == Some(404) => {
            let index = std::fs::read_to_string(get(repo, WEIGHTS_INDEX)?)?;
            for shard in shards_of(&index) {
                last = get(repo, &shard)?;
            }
        }
        Err(error) => return Err(remote(error).context(format!("cannot download {WEIGHTS} of {REPO}"))),
    }
    Ok(folder_of(&last).to_owned())
}

fn get(repo: &ApiRepo, name: &str) -> Outcome<PathBuf> {
    get_resuming(repo, name)
        .map_err(|error| remote(error).context(format!("cannot download {name} of {REPO}")))
}

/// Gets a file, going on where the connection broke off. The library's own retries are not used: the first
/// of them starts at 0 behind what an earlier process left, and the file becomes garbage.
fn get_resuming(repo: &ApiRepo, name: &str) -> Result<PathBuf, ApiError> {
    let mut left = RETRIES;
    loop {
        match repo.get(name) {
            Err(ApiError::IoError(_)) if left > 0 => left -= 1,
            result => return result,
        }
    }
}

/// The HTTP status behind an error, if it was one.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(inner) => match inner.as_ref() {
            ureq::Error::StatusCode(code) => Some(*code),
            _ => None,
        },
        _ => None,
    }
}

/// A download's error in words, with what to do.
fn remote(error: ApiError) -> Failure {
    match status(&error) {
        Some(401 | 403) => {
            Failure::msg(Kind::Remote, format!("no access to {REPO}: it is gated")).hint(format!(
                "ask for access at {PAGE}, make a token at https://huggingface.co/settings/tokens and set \
                 HF_TOKEN to it; or name a folder with --model"
            ))
        }
        _ => Failure::new(Kind::Remote, error).hint(
            "run the command again to go on with the download, or name a folder that holds the checkpoint \
             with --model",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(cache: &Path, name: &str, files: &[&str]) -> PathBuf {
        let folder = cache.join("models--facebook--sam3/snapshots").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in files {
            std::fs::write(folder.join(file), "{}").unwrap();
        }
        folder
    }

    #[test]
    fn an_incomplete_snapshot_is_passed_over() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(newest_snapshot(cache.path()), None);
        let whole = [&SMALL_FILES[..], &[WEIGHTS]].concat();
        let old = snapshot(cache.path(), "old", &whole);
        snapshot(cache.path(), "new", &SMALL_FILES);
        assert_eq!(newest_snapshot(cache.path()), Some(old));
    }

    #[test]
    fn a_sharded_snapshot_needs_every_shard() {
        let cache = tempfile::tempdir().unwrap();
        let folder = snapshot(cache.path(), "sharded", &SMALL_FILES);
        let index =
            r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
        std::fs::write(folder.join(WEIGHTS_INDEX), index).unwrap();
        std::fs::write(folder.join("one.safetensors"), "").unwrap();
        assert_eq!(newest_snapshot(cache.path()), None);
        std::fs::write(folder.join("two.safetensors"), "").unwrap();
        assert_eq!(newest_snapshot(cache.path()), Some(folder));
    }
}
