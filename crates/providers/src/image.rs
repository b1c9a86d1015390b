//! Whether a container image can be pulled, asked before a machine is rented for it: a provider charges for a machine
//! that cannot find its image, too.
//!
//! The registry's API (OCI distribution, version 1.1) is asked for the manifest, with the anonymous token that it offers.

use reqwest::header::{ACCEPT, WWW_AUTHENTICATE};
use reqwest::{Client, Method, StatusCode, Url};
use serde::Deserialize;

use crate::http::{client, describe};
use crate::options::Timeouts;

/// The registry of images whose name has no host.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// Kinds of manifests that container runtimes accept.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";

/// What a registry says about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageCheck {
    /// Anyone can pull it.
    Public,
    /// It does not exist, or it needs a login; registries do not tell these apart.
    NotPublic,
    /// The name is not one of an image.
    Invalid(String),
    /// The registry could not be asked.
    Unknown(String),
}

/// Asks the registry of an image, such as `ghcr.io/me/courtside-worker:1`, whether it has it.
pub async fn check_image(image: &str, timeouts: Timeouts) -> ImageCheck {
    let Some(reference) = Reference::parse(image) else {
        return ImageCheck::Invalid(format!("{image:?} is not the name of an image"));
    };
    match client(timeouts) {
        Ok(client) => reference.check(&client).await.unwrap_or_else(|e| ImageCheck::Unknown(describe(&e))),
        Err(error) => ImageCheck::Unknown(error.to_string()),
    }
}

/// The parts of an image's name.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    host: String,
    repository: String,
    /// Tag or digest.
    version: String,
}

impl Reference {
    fn parse(image: &str) -> Option<Self> {
        let is_usable = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
        if image.is_empty() || !image.chars().all(is_usable) || image.contains("..") {
            return None;
        }
        // As container runtimes tell a host from a folder.
        let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
        let (host, rest) = match image.split_once('/') {
            Some((host, rest)) if is_host(host) => (host, rest),
            _ => (DOCKER_HUB, image),
        };
        let (name, version) = match (rest.split_once('@'), rest.rsplit_once(':')) {
            (Some((name, digest)), _) => (name.split(':').next()?, digest),
            (None, Some((name, tag))) => (name, tag),
            (None, None) => (rest, "latest"),
        };
        let is_official = host == DOCKER_HUB && !name.contains('/');
        let repository = if is_official { format!("library/{name}") } else { name.to_owned() };
        let host = if host == "docker.io" { DOCKER_HUB } else { host };
        let is_complete =
            !name.is_empty() && !version.is_empty() && repository.split('/').all(|p| !p.is_empty());
        is_complete.then(|| Self { host: host.to_owned(), repository, version: version.to_owned() })
    }

    fn url(&self) -> String {
        let name = self.host.split(':').next().unwrap_or_default();
        let scheme = if matches!(name, "localhost" | "127.0.0.1") { "http" } else { "https" };
        format!("{scheme}://{}/v2/{}/manifests/{}", self.host, self.repository, self.version)
    }

    async fn check(&self, client: &Client) -> reqwest::Result<ImageCheck> {
        let head = |token: Option<String>| {
            let request = client.request(Method::HEAD, self.url()).header(ACCEPT, MANIFESTS);
            match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            }
        };
        let mut response = head(None).send().await?;
        let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(realm) = challenge.and_then(token_address)
        {
            let answer = client.get(realm).send().await?;
            if let Ok(Token { token: Some(token), .. } | Token { access_token: Some(token), .. }) =
                serde_json::from_slice(&answer.bytes().await?)
            {
                response = head(Some(token)).send().await?;
            }
        }
        Ok(match response.status().as_u16() {
            200..=299 => ImageCheck::Public,
            401 | 403 | 404 => ImageCheck::NotPublic,
            other => ImageCheck::Unknown(format!("the registry answers {other}")),
        })
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The address at which a registry hands out tokens, from `Bearer realm="…",service="…",scope="…"`.
fn token_address(challenge: &str) -> Option<Url> {
    let (scheme, parameters) = challenge.split_once(' ')?;
    let quoted = |name: &str| {
        let (_, rest) = parameters.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0)
    };
    let mut url = Url::parse(quoted("realm")?).ok().filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    for name in ["service", "scope"] {
        if let Some(value) = quoted(name) {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_read_as_container_runtimes_do() {
        let url = |image| Reference::parse(image).map(|reference| reference.url());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(url("ghcr.io/me/w:1"), some("https://ghcr.io/v2/me/w/manifests/1"));
        assert_eq!(url("me/w"), some("https://registry-1.docker.io/v2/me/w/manifests/latest"));
        assert_eq!(url("debian"), some("https://registry-1.docker.io/v2/library/debian/manifests/latest"));
        assert_eq!(url("docker.io/me/w:2"), some("https://registry-1.docker.io/v2/me/w/manifests/2"));
        assert_eq!(url("localhost:5000/w@sha256:ab"), some("http://localhost:5000/v2/w/manifests/sha256:ab"));
        for bad in ["", "a b", "ghcr.io/", "me//w", "w:", "http://h/w", "../w"] {
            assert_eq!(url(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_challenge_names_where_tokens_are() {
        let challenge = "Bearer realm=\"https://auth.h/token\",service=\"h\",scope=\"repository:me/w:pull\"";
        let url = token_address(challenge).unwrap().to_string();
        assert_eq!(url, "https://auth.h/token?service=h&scope=repository%3Ame%2Fw%3Apull");
        assert_eq!(token_address("Basic realm=\"x\""), None);
    }
}
