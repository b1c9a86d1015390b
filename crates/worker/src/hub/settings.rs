//! The hub's settings, from the environment.

use std::path::{Path, PathBuf};

use client::failure::{Failure, Kind, Outcome};

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
    ///
    /// # Errors
    /// Of kind [`Kind::Config`] if address or token cannot be used.
    pub(crate) fn from_env() -> Outcome<Self> {
        let cache = cache_folder();
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = match variable("HF_TOKEN") {
            Some(token) => Some((token, "HF_TOKEN".to_owned())),
            None => token_file(&cache),
        };
        if let Some((token, source)) = &token {
            check_token(token, source)?;
        }
        let endpoint = check_endpoint(&endpoint)?;
        Ok(Self { endpoint, token: token.map(|(token, _)| token), cache })
    }
}

/// Checks a token, which is sent in a header. `source` names where it is from.
fn check_token(token: &str, source: &str) -> Outcome<()> {
    if token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Failure::msg(
        Kind::Config,
        format!("{source} contains a blank, a line break or a letter that is not ASCII"),
    )
    .hint("copy the token again from https://huggingface.co/settings/tokens"))
}

/// Checks an address. Returns it without a slash at its end.
fn check_endpoint(address: &str) -> Outcome<String> {
    let url = reqwest::Url::parse(address).ok();
    if url.is_some_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host()) {
        return Ok(address.trim_end_matches('/').to_owned());
    }
    Err(Failure::msg(Kind::Config, "HF_ENDPOINT is not an http or https address")
        .hint("set it to the address of a mirror, or unset it to use https://huggingface.co"))
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

/// The token that `hf auth login` keeps next to the cache, and the name of its file.
fn token_file(cache: &Path) -> Option<(String, String)> {
    let path = cache.parent()?.join("token");
    let token = std::fs::read_to_string(&path).ok()?.trim().to_owned();
    Some((token, format!("the token in {}", path.display()))).filter(|(token, _)| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_usable_addresses_and_tokens_are_accepted() {
        assert_eq!(check_endpoint("https://mirror/hf/").unwrap(), "https://mirror/hf");
        for address in ["mirror", "https://", "ftp://mirror", "file:///x", "https://a b"] {
            let failure = check_endpoint(address).unwrap_err();
            assert_eq!(failure.kind, Kind::Config);
            assert!(
                failure.to_string().contains("HF_ENDPOINT") && failure.hint_text().is_some(),
                "{failure}"
            );
        }
        check_token("hf_abc", "HF_TOKEN").unwrap();
        for token in ["hf_hush\nx", "hf_hush x", "hf_hüsh"] {
            let failure = check_token(token, "HF_TOKEN").unwrap_err();
            assert_eq!(failure.kind, Kind::Config);
            assert!(
                failure.to_string().contains("HF_TOKEN") && !failure.to_string().contains(token),
                "{failure}"
            );
        }
    }
}
