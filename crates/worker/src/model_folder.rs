//! The model folder: `--model`, `CLOUD_MODEL_PATH`, `/models/sam3`, the Hugging Face cache, or a download.

use std::path::{Path, PathBuf};

use client::failure::{Failure, Kind, Outcome};
use client::terminal::notify;

use crate::hub::{self, HubError, HubRepo, HubSettings};

/// The model's repository on the Hugging Face hub.
const REPO: &str = "facebook/sam3";
/// The page where access to the repository is requested.
const PAGE: &str = "https://huggingface.co/facebook/sam3";
/// Folder that container images and older workers use.
const DEFAULT_FOLDER: &str = "/models/sam3";
/// Files that a model folder needs in addition to the weights.
pub(crate) const SMALL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "processor_config.json"];
/// Files that it may have.
pub(crate) const OPTIONAL_FILES: [&str; 1] = ["tokenizer_config.json"];
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// Lists the weight files (shards) of a model without a `model.safetensors`.
pub(crate) const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// Finds the model folder; downloads the model if this machine has none. `named` is the folder from the command line.
/// Blocks; must not be called from an async task.
///
/// # Errors
/// If a folder was named that does not exist, or the download fails.
pub fn find(named: Option<&Path>) -> Outcome<PathBuf> {
    match local(named)? {
        Some(folder) => Ok(folder),
        None => download(),
    }
}

/// Finds the model folder on this machine. `None` if the model must be downloaded.
///
/// # Errors
/// If a folder was named that does not exist.
pub fn local(named: Option<&Path>) -> Outcome<Option<PathBuf>> {
    if let Some(folder) = named {
        return existing(folder, "").map(Some);
    }
    if let Some(folder) = std::env::var_os("CLOUD_MODEL_PATH").filter(|v| !v.is_empty()) {
        return existing(Path::new(&folder), " (from CLOUD_MODEL_PATH)").map(Some);
    }
    let default = Path::new(DEFAULT_FOLDER);
    if default.is_dir() {
        return existing(default, "").map(Some);
    }
    Ok(newest_snapshot(&hub::cache_folder().join(hub::folder_name(REPO))))
}

/// Whether `HF_TOKEN` is set.
pub fn has_token() -> bool {
    hub::variable("HF_TOKEN").is_some()
}

/// Requests the metadata of a small file to find out whether the model could be downloaded. Blocks; must not be called
/// from an async task.
///
/// # Errors
/// If access is missing, or the hub does not answer.
pub fn check_access() -> Outcome<()> {
    let settings = HubSettings::from_env()?;
    let request = async { HubRepo::new(REPO, &settings)?.latest_commit(SMALL_FILES[0]).await };
    match block_on(request)? {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.status(), Some(401 | 403)) => Err(download_failure(error)),
        Err(error) => Err(Failure::new(Kind::Remote, error).context("cannot reach the Hugging Face Hub")),
    }
}

fn existing(folder: &Path, source: &str) -> Outcome<PathBuf> {
    if folder.is_dir() {
        return within(folder);
    }
    let what = if folder.exists() { "is not a folder" } else { "does not exist" };
    let message = format!("the model folder {}{source} {what}", folder.display());
    Err(Failure::msg(Kind::Config, message)
        .hint("name the folder that contains config.json and model.safetensors"))
}

/// The model in a folder: the folder itself, or the newest snapshot if it is a repository of the Hugging Face cache
/// (`models--facebook--sam3`).
///
/// # Errors
/// If it is a repository without a complete snapshot, or has links to files that do not exist.
fn within(folder: &Path) -> Outcome<PathBuf> {
    let is_repository = folder.join("snapshots").is_dir() && !folder.join(SMALL_FILES[0]).exists();
    if is_repository && let Some(snapshot) = newest_snapshot(folder) {
        return Ok(snapshot);
    }
    let dangling = dangling_link(&if is_repository { folder.join("snapshots") } else { folder.to_owned() });
    let message = match (dangling, is_repository) {
        (Some(link), _) => format!(
            "the model folder {}: {} is a link to a file that does not exist",
            folder.display(),
            link.display()
        ),
        (None, true) => format!("the model folder {} has no complete snapshot", folder.display()),
        (None, false) => return Ok(folder.to_owned()),
    };
    Err(Failure::msg(Kind::Config, message)
        .hint("copy a model with `courtside model copy FOLDER`, which follows links"))
}

/// A link in a folder, or in a folder of it, that leads nowhere.
fn dangling_link(folder: &Path) -> Option<PathBuf> {
    let entries =
        |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_dangling = |path: &PathBuf| path.is_symlink() && !path.exists();
    entries(folder).flat_map(|path| std::iter::once(path.clone()).chain(entries(&path))).find(is_dangling)
}

/// The newest snapshot in a repository of the cache that has every file.
fn newest_snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let folders = std::fs::read_dir(snapshots).ok()?.filter_map(|entry| entry.ok().map(|e| e.path()));
    let complete = folders.filter(|folder| is_complete(folder));
    complete.max_by_key(|folder| std::fs::metadata(folder).and_then(|m| m.modified()).ok())
}

/// Whether a folder has every file that loading needs.
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

/// File names in the `weight_map` of an index, each once.
pub(crate) fn shards_of(index: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(index).unwrap_or_default();
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let names = map.into_iter().flat_map(|m| m.values()).filter_map(|v| v.as_str());
    // The names come from the hub: a path must not lead out of the snapshot.
    let mut names: Vec<String> = names.filter(|name| !name.contains('/')).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

/// Downloads the model into the hub's cache. What arrived of an interrupted download is kept and resumed.
fn download() -> Outcome<PathBuf> {
    let settings = HubSettings::from_env()?;
    notify(format!("no model on this machine; downloading {REPO} to {}", settings.cache.display()));
    block_on(async {
        let repo = HubRepo::new(REPO, &settings).map_err(download_failure)?;
        fetch_model(&repo).await
    })?
}

async fn fetch_model(repo: &HubRepo) -> Outcome<PathBuf> {
    let commit = repo.latest_commit(SMALL_FILES[0]).await.map_err(failed_file(SMALL_FILES[0]))?;
    let fetch = async |name: &str| repo.fetch(&commit, name).await.map_err(failed_file(name));
    for name in SMALL_FILES {
        fetch(name).await?;
    }
    for name in OPTIONAL_FILES {
        // The model is complete without it.
        let _ = repo.fetch(&commit, name).await;
    }
    match repo.fetch(&commit, WEIGHTS).await {
        Ok(_) => {}
        Err(error) if error.status() == Some(404) => {
            let index = std::fs::read_to_string(fetch(WEIGHTS_INDEX).await?)?;
            for shard in shards_of(&index) {
                fetch(&shard).await?;
            }
        }
        Err(error) => return Err(failed_file(WEIGHTS)(error)),
    }
    let folder = repo.finish(&commit).map_err(download_failure)?;
    if is_complete(&folder) {
        return Ok(folder);
    }
    Err(Failure::msg(Kind::Remote, format!("{REPO} has no weights: neither {WEIGHTS} nor its shards"))
        .hint("name a folder that contains the model with --model"))
}

fn failed_file(name: &str) -> impl FnOnce(HubError) -> Failure {
    let context = format!("cannot download {name} of {REPO}");
    move |error| download_failure(error).context(context)
}

/// Adds what to do about a failed download.
fn download_failure(error: HubError) -> Failure {
    match error.status() {
        Some(status @ (401 | 403)) => no_access(status),
        _ => Failure::new(Kind::Remote, error)
            .hint("run the command again to resume the download, or name a model folder with --model"),
    }
}

/// The failure for a request that the hub answered with 401 (it does not know the user) or 403 (it does not let this
/// user in).
fn no_access(status: u16) -> Failure {
    let has_token = HubSettings::from_env().is_ok_and(|settings| settings.token.is_some());
    let tokens = "https://huggingface.co/settings/tokens";
    let (message, hint) = match (status, has_token) {
        (401, true) => (
            format!(
                "the Hugging Face Hub does not accept the token: it is mistyped, expired or revoked ({status})"
            ),
            format!(
                "create a token at {tokens}, of an account with access to {PAGE}, and set HF_TOKEN to it"
            ),
        ),
        (_, true) => (
            format!(
                "no access to {REPO}: it is gated, and the account of the token was not granted access ({status})"
            ),
            format!(
                "request access at {PAGE} with the account of HF_TOKEN; a fine-grained token must also permit reading gated \
                     repositories ({tokens})"
            ),
        ),
        (_, false) => (
            format!("no access to {REPO}: it is gated, and there is no token ({status})"),
            format!("request access at {PAGE}, create a token at {tokens} and set HF_TOKEN to it"),
        ),
    };
    Failure::msg(Kind::Config, message).hint(format!("{hint}; or name a model folder with --model"))
}

/// Runs a download on its own runtime, since commands without a bucket have none.
fn block_on<T>(work: impl Future<Output = T>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start a download"))?.block_on(work))
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
    fn skips_an_incomplete_snapshot() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(newest_snapshot(&cache.path().join("models--facebook--sam3")), None);
        let complete = [&SMALL_FILES[..], &[WEIGHTS]].concat();
        let old = snapshot(cache.path(), "old", &complete);
        snapshot(cache.path(), "new", &SMALL_FILES);
        assert_eq!(newest_snapshot(&cache.path().join("models--facebook--sam3")), Some(old));
    }

    #[test]
    fn a_repository_of_the_cache_is_a_model_folder() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--facebook--sam3");
        snapshot(cache.path(), "incomplete", &SMALL_FILES);
        let failure = within(&repository).unwrap_err();
        assert!(failure.message().contains("no complete snapshot"), "{failure}");
        let complete = snapshot(cache.path(), "complete", &[&SMALL_FILES[..], &[WEIGHTS]].concat());
        assert_eq!(within(&repository).unwrap(), complete);
        assert_eq!(within(&complete).unwrap(), complete);
    }

    #[test]
    #[cfg(unix)]
    fn a_copied_cache_with_dangling_links_is_named() {
        let cache = tempfile::tempdir().unwrap();
        let folder = snapshot(cache.path(), "copied", &SMALL_FILES);
        std::os::unix::fs::symlink("../../blobs/0123", folder.join(WEIGHTS)).unwrap();
        for named in [&folder, &cache.path().join("models--facebook--sam3")] {
            let failure = within(named).unwrap_err();
            assert!(
                failure.message().contains("model.safetensors is a link to a file that does not exist"),
                "{failure}"
            );
            assert!(failure.hint_text().unwrap().contains("courtside model copy"));
        }
    }

    #[test]
    fn a_sharded_snapshot_needs_every_shard() {
        let cache = tempfile::tempdir().unwrap();
        let folder = snapshot(cache.path(), "sharded", &SMALL_FILES);
        let index =
            r#"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "one.safetensors"}}"#;
        std::fs::write(folder.join(WEIGHTS_INDEX), index).unwrap();
        std::fs::write(folder.join("one.safetensors"), "").unwrap();
        assert_eq!(newest_snapshot(&cache.path().join("models--facebook--sam3")), None);
        std::fs::write(folder.join("two.safetensors"), "").unwrap();
        assert_eq!(newest_snapshot(&cache.path().join("models--facebook--sam3")), Some(folder));
    }
}
