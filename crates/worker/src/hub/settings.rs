//! The hub's settings, from the environment.

use std::path::{Path, PathBuf};

/// Settings of the hub, from the variables that `huggingface_hub` reads.
#[derive(Debug, Clone)]
pub(crate) struct HubSettings {
    /// Scheme and host, without a slash at the end (`HF_ENDPOINT`).
    pub(crate) endpoint: String,
    /// Access token (`HF_TOKEN`, or the file that `hf auth login` writes).
    pub(crate) token: Option<String>,
    /// Folder with one folder for each repository (`HF_HUB_CACHE`, or `hub` in `HF_HOME`).
    pub(crate) cache: PathBuf,
}

impl HubSettings {
    /// Reads the `HF_…` variables; an empty one is treated as unset.
    pub(crate) fn from_env() -> Self {
        let cache = cache_folder();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = variable("HF_TOKEN").or_else(|| token_file(&cache));
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), token, cache }
    }
}

/// An environment variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The hub's cache folder: `HF_HUB_CACHE`, `$HF_HOME/hub`, `~/.cache/huggingface/hub`.
pub(crate) fn cache_folder() -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("HF_HUB_CACHE").or_else(|| Some(folder("HF_HOME")?.join("hub"))).unwrap_or_else(|| {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("."));
        home.join(".cache/huggingface/hub")
    })
}

/// The token that `hf auth login` keeps next to the cache.
fn token_file(cache: &Path) -> Option<String> {
    let text = std::fs::read_to_string(cache.parent()?.join("token")).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}
