//! The settings of an S3 server, checked before they reach the S3 client, which panics on some invalid ones.
//!
//! Requests name the bucket in their path (`https://SERVER/BUCKET/KEY`). An address that contains the bucket already, as
//! providers display it, is understood if it is the configured bucket, and otherwise an error that says what to set.

use reqwest::Url;

/// Why the value of a setting cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// The problem; the text follows the name of the setting. Contains no secret.
    pub why: String,
    /// What to do, if that is more than correcting the value.
    pub hint: Option<String>,
}

impl InvalidValue {
    /// A problem without a hint.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Jurisdictions of R2, which follow the account id in its host names.
const R2_JURISDICTIONS: [&str; 2] = ["eu", "fedramp"];
const R2_DOMAIN: &str = ".r2.cloudflarestorage.com";

/// The address of an S3 server, possibly with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    host: String,
    /// `:PORT`, or nothing for the port of the scheme.
    port: String,
    /// Path without slashes at its ends.
    path: String,
}

impl Endpoint {
    /// Parses an address such as `https://ACCOUNT.r2.cloudflarestorage.com`.
    ///
    /// # Errors
    /// If it is not an `http` or `https` address with a host name, or contains more than host, port and path.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        check_characters(text)?;
        let rest = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"));
        let Some((_, rest)) = rest else {
            let problem = InvalidValue::new("does not begin with https:// or http://");
            return Err(if text.contains(':') {
                problem
            } else {
                problem.hint(format!("use https://{text}"))
            });
        };
        if rest.is_empty() || rest.starts_with('/') {
            return Err(InvalidValue::new("has no host name after ://"));
        }
        let url = Url::parse(text).map_err(|e| InvalidValue::new(format!("is not an address: {e}")))?;
        let host = url.host_str().unwrap_or_default();
        let is_label = |label: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(allowed)
        };
        if !host.starts_with('[') && !host.trim_end_matches('.').split('.').all(is_label) {
            return Err(InvalidValue::new(format!("has an invalid host name, {host:?}")));
        }
        Ok(Self {
            scheme: url.scheme().to_owned(),
            host: host.to_owned(),
            port: url.port().map(|port| format!(":{port}")).unwrap_or_default(),
            path: url.path().trim_matches('/').to_owned(),
        })
    }

    /// The address to which `/BUCKET/KEY` is appended.
    ///
    /// # Errors
    /// If path or host name contain something else than this bucket. The hint has the values to set.
    pub fn for_bucket(&self, bucket: &str) -> Result<String, InvalidValue> {
        let (in_host, host) = match bucket_in_host(&self.host) {
            Some((name, host)) => (Some(name), host),
            None => (None, self.host.as_str()),
        };
        let address = format!("{}://{host}{}", self.scheme, self.port);
        let in_path = Some(self.path.as_str()).filter(|path| !path.is_empty());
        let Some(other) = [in_host, in_path].into_iter().flatten().find(|name| *name != bucket) else {
            return Ok(address);
        };
        let place = if in_host == Some(other) { "host name" } else { "path" };
        let problem =
            InvalidValue::new(format!("has {other:?} in its {place}, and the bucket is {bucket:?}"));
        Err(problem.hint(match bucket_name(other) {
            Ok(()) => {
                format!("set R2_ENDPOINT_URL={address}, and R2_BUCKET_NAME={other} if that is the bucket")
            }
            Err(_) => format!("set R2_ENDPOINT_URL={address}"),
        }))
    }
}

fn check_characters(text: &str) -> Result<(), InvalidValue> {
    if let Some(c) = text.chars().find(|c| matches!(c, '<' | '>' | '{' | '}' | '$')) {
        return Err(InvalidValue::new(format!("contains {c:?}: a placeholder was not replaced"))
            .hint("write the value there, such as the account id that the Cloudflare dashboard shows"));
    }
    if text.contains('@') {
        return Err(InvalidValue::new("contains a user name or password")
            .hint("set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, and leave them out of the address"));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '?' | '#' | '"' | '\'')) {
        Some(c) => {
            Err(InvalidValue::new(format!("contains {c:?}, which an address of a server cannot contain")))
        }
        None => Ok(()),
    }
}

/// The bucket that the host name of R2 or AWS begins with, and the host name without it.
fn bucket_in_host(host: &str) -> Option<(&str, &str)> {
    let at = match host.strip_suffix(R2_DOMAIN) {
        Some(labels) => {
            let account = match labels.rsplit_once('.') {
                Some((account, jurisdiction)) if R2_JURISDICTIONS.contains(&jurisdiction) => account,
                _ => labels,
            };
            account.rfind('.')?
        }
        None if host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn") => {
            host.find(".s3.").or_else(|| host.find(".s3-"))?
        }
        None => return None,
    };
    Some((&host[..at], &host[at + 1..]))
}

/// Checks the name of a bucket, which is also the name of a folder.
///
/// # Errors
/// If it is not a name that S3 servers accept.
pub fn bucket_name(name: &str) -> Result<(), InvalidValue> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.is_empty() && !name.starts_with('.') && name.len() <= 63 && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let why = "is not a valid bucket name: use at most 63 letters, digits, '-', '_' and '.'";
    Err(InvalidValue::new(why))
}

/// Checks a Cloudflare account id, which may have a jurisdiction after it (`ID.eu`).
///
/// # Errors
/// If it cannot be a part of a host name.
pub fn account_id(id: &str) -> Result<(), InvalidValue> {
    let hint = "use the 32 letters and digits that the Cloudflare dashboard shows as account id";
    if id.contains("://") {
        return Err(
            InvalidValue::new("is an address").hint("set R2_ENDPOINT_URL to it, and unset R2_ACCOUNT_ID")
        );
    }
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if id.len() <= 63 && id.split('.').all(is_label) {
        return Ok(());
    }
    Err(InvalidValue::new("is not an account id").hint(hint))
}

/// Checks a region or the id of an access key: both become parts of a header, separated by slashes.
///
/// # Errors
/// If it contains blanks, slashes, or anything but ASCII.
pub fn credential_part(text: &str) -> Result<(), InvalidValue> {
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '/') {
        Some(c) => Err(InvalidValue::new(format!("contains {c:?}; copy it again from the provider"))),
        None if text.is_empty() => Err(InvalidValue::new("is empty")),
        None => Ok(()),
    }
}

/// Checks a secret or a token. Its characters are not shown.
///
/// # Errors
/// If it contains line breaks, other control characters, or anything but ASCII.
pub fn secret(text: &str) -> Result<(), InvalidValue> {
    if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        return Ok(());
    }
    let what = if text.is_ascii() {
        "a line break or another control character"
    } else {
        "a letter that is not ASCII"
    };
    Err(InvalidValue::new(format!("contains {what}; copy it again")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, bucket: &str) -> Result<String, InvalidValue> {
        Endpoint::parse(text)?.for_bucket(bucket)
    }

    #[test]
    fn an_address_with_the_bucket_in_it_is_understood() {
        let r2 = "https://abc.r2.cloudflarestorage.com";
        for (text, expected) in [
            (r2, r2),
            ("https://abc.r2.cloudflarestorage.com/", r2),
            ("https://abc.r2.cloudflarestorage.com:443", r2),
            ("https://ABC.r2.cloudflarestorage.com/games", r2),
            ("https://abc.r2.cloudflarestorage.com/games/", r2),
            ("https://games.abc.r2.cloudflarestorage.com", r2),
            ("https://games.abc.r2.cloudflarestorage.com/games", r2),
            ("https://abc.eu.r2.cloudflarestorage.com", "https://abc.eu.r2.cloudflarestorage.com"),
            ("https://games.abc.eu.r2.cloudflarestorage.com", "https://abc.eu.r2.cloudflarestorage.com"),
            ("https://s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
            ("https://games.s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
            ("https://games.s3-eu-west-1.amazonaws.com", "https://s3-eu-west-1.amazonaws.com"),
            ("http://127.0.0.1:9000/games", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("http://minio_1:9000", "http://minio_1:9000"),
            // Not a provider that puts buckets into host names.
            ("https://games.example.com", "https://games.example.com"),
        ] {
            assert_eq!(address(text, "games").as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_address_with_another_bucket_or_a_path_is_an_error_with_the_values_to_set() {
        for (text, why, hint) in [
            (
                "https://abc.r2.cloudflarestorage.com/other",
                "\"other\" in its path",
                "set R2_ENDPOINT_URL=https://abc.r2.cloudflarestorage.com, and R2_BUCKET_NAME=other if",
            ),
            (
                "https://other.abc.r2.cloudflarestorage.com",
                "\"other\" in its host name",
                "set R2_ENDPOINT_URL=https://abc.r2.cloudflarestorage.com, and R2_BUCKET_NAME=other",
            ),
            (
                "https://other.s3.eu-west-1.amazonaws.com",
                "\"other\" in its host name",
                "set R2_ENDPOINT_URL=https://s3.eu-west-1.amazonaws.com, and R2_BUCKET_NAME=other",
            ),
            ("http://h:9000/games/jobs", "\"games/jobs\" in its path", "set R2_ENDPOINT_URL=http://h:9000"),
        ] {
            let invalid = address(text, "games").unwrap_err();
            assert!(invalid.why.contains(why), "{invalid:?}");
            assert!(invalid.hint.clone().unwrap().starts_with(hint), "{invalid:?}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_server_is_an_error() {
        for (text, why) in [
            ("", "https://"),
            ("abc.r2.cloudflarestorage.com", "https://"),
            ("ftp://h", "https://"),
            ("https:h", "https://"),
            ("https://", "no host"),
            ("https:///games", "no host"),
            ("https://<ACCOUNT_ID>.r2.cloudflarestorage.com", "placeholder"),
            ("https://${R2_ACCOUNT_ID}.r2.cloudflarestorage.com", "placeholder"),
            ("https://a b", "' '"),
            ("https://ab\n", "'\\n'"),
            ("\"https://ab\"", "'\"'"),
            ("https://exämple.com", "'ä'"),
            ("https://me:hush@h", "password"),
            ("https://h?x", "'?'"),
            ("https://h#x", "'#'"),
            ("https:\\\\h", "'\\\\'"),
            ("https://h:99999", "not an address"),
            ("https://h:port", "not an address"),
            ("https://a..b", "host name"),
            ("https://-,-", "host name"),
            ("https://[::1", "not an address"),
        ] {
            let invalid = Endpoint::parse(text).unwrap_err();
            assert!(invalid.why.contains(why), "{text:?}: {invalid:?}");
            assert!(!format!("{invalid:?}").contains("hush"));
        }
        let long = format!("https://{}.com", "a".repeat(64));
        assert!(Endpoint::parse(&long).unwrap_err().why.contains("host name"));
    }

    #[test]
    fn names_and_keys_are_checked() {
        type Check = fn(&str) -> Result<(), InvalidValue>;
        for (check, good, bad) in [
            (
                account_id as Check,
                &["abc", "0123456789abcdef0123456789abcdef", "abc.eu"][..],
                &["", "\"abc\"", "<A>", "a b", "ä", "ACCOUNT_ID", "https://abc", ".."][..],
            ),
            (bucket_name, &["games", "a_b", "A.b-1"], &["", "../up", ".x", "a/b", "ä"]),
            (credential_part, &["auto", "us-east-1", "AKIA0"], &["", "a b", "a\nb", "a/b", "ä"]),
            (secret, &["hush", "a/b+c=", "open sesame"], &["a\nb", "a\tb", "ä"]),
        ] {
            good.iter().for_each(|text| assert_eq!(check(text), Ok(()), "{text:?}"));
            bad.iter().for_each(|text| assert!(check(text).is_err(), "{text:?}"));
        }
    }
}
