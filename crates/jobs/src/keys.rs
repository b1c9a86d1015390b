//! Job ids and the keys derived from them. Ids and keys from outside are validated here, once; a valid one
//! cannot point outside the bucket's folder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::quote;

/// Longest job id, in bytes.
const MAX_ID: usize = 128;
/// Longest key, in bytes. R2's own limit is 1,024.
const MAX_KEY: usize = 512;

/// Prefix of manifests, one per job.
pub const JOBS: &str = "jobs/";
/// Prefix of uploaded videos.
pub const VIDEOS: &str = "videos/";
/// Prefix of results files, at most one per job.
pub const RESULTS: &str = "results/";
/// Prefix of checkpoints, one folder per job.
pub const CHECKPOINTS: &str = "checkpoints/";
/// Prefix of logs, one folder per job.
pub const LOGS: &str = "logs/";
/// Prefix of what workers say about their machines.
pub const WORKERS: &str = "workers/";
/// Prefix of what was moved out of the way of pollers, before the key that it had.
pub const ARCHIVE: &str = "archive/";
/// Key of the cache of finished manifests.
pub const INDEX: &str = "index/jobs.json";
/// Key of the cache of archived manifests.
pub const ARCHIVE_INDEX: &str = "index/archive.json";

/// The id of a job: 1 to 128 of the characters `A-Z a-z 0-9 - _ .`, not starting with a dot, without two dots
/// in a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// Why a string is not a valid job id or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {why}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl InvalidName {
    pub(crate) fn key(text: &str, why: &'static str) -> Self {
        Self { what: "key", text: shortened(text), why }
    }
}

impl JobId {
    /// Checks that `text` is a valid id.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let why = if text.is_empty() || text.len() > MAX_ID {
            "must be 1 to 128 characters long"
        } else if !text.bytes().all(allowed) {
            "must contain only letters, digits, '-', '_' and '.'"
        } else if text.starts_with('.') || text.contains("..") {
            "must not start with a dot or contain two dots in a row"
        } else {
            return Ok(Self(text));
        };
        Err(InvalidName { what: "job id", text: shortened(&text), why })
    }

    /// The id as a string slice.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `jobs/{id}.json`, the key of the manifest.
    pub fn manifest_key(&self) -> String {
        format!("{JOBS}{self}.json")
    }

    /// `archive/jobs/{id}.json`, the key of the manifest once it is archived.
    pub fn archive_key(&self) -> String {
        format!("{ARCHIVE}{}", self.manifest_key())
    }

    /// `status/{id}.json`, the key of the status object.
    pub fn status_key(&self) -> String {
        format!("status/{self}.json")
    }

    /// `results/{id}.json`, the key of the results file.
    pub fn results_key(&self) -> String {
        format!("{RESULTS}{self}.json")
    }

    /// `videos/{id}.{ext}`; see [`usable_extension`].
    pub fn video_key(&self, extension: Option<&str>) -> String {
        format!("{VIDEOS}{self}.{}", usable_extension(extension))
    }

    /// Parses the id from the key of a video; `None` for a key that [`Self::video_key`] does not make.
    pub fn from_video_key(key: &str) -> Option<Self> {
        let (stem, _) = key.strip_prefix(VIDEOS)?.rsplit_once('.')?;
        Self::new(stem).ok()
    }

    /// `checkpoints/{id}/`, the prefix of the job's checkpoints.
    pub fn checkpoints_prefix(&self) -> String {
        format!("checkpoints/{self}/")
    }

    /// `checkpoints/{id}/{attempt}-{seq}/{file}`, one file of an attempt's `seq`-th checkpoint.
    pub fn checkpoint_key(&self, attempt: u32, seq: u64, file: &str) -> String {
        format!("checkpoints/{self}/{attempt:04}-{seq:06}/{file}")
    }

    /// `logs/{id}/`, the prefix of the job's logs.
    pub fn logs_prefix(&self) -> String {
        format!("logs/{self}/")
    }

    /// `logs/{id}/{attempt}.log`, the log of one attempt.
    pub fn log_key(&self, attempt: u32) -> String {
        format!("logs/{self}/{attempt:04}.log")
    }

    /// Parses the id from a manifest's key.
    pub fn from_manifest_key(key: &str) -> Result<Self, InvalidName> {
        let stem = key.strip_prefix(JOBS).and_then(|rest| rest.strip_suffix(".json"));
        match stem {
            Some(stem) => Self::new(stem),
            None => Err(InvalidName {
                what: "key",
                text: shortened(key),
                why: "must have the form jobs/{job_id}.json",
            }),
        }
    }
}

/// The extension of a video's key or file name in lower case; `mp4` if it is missing, or is not 1 to 8 letters and digits.
/// A key from a manifest may have any extension, and a file name that contains it would not be valid everywhere.
pub fn usable_extension(extension: Option<&str>) -> String {
    let usable = |e: &&str| (1..=8).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphanumeric());
    extension.filter(usable).unwrap_or("mp4").to_ascii_lowercase()
}

/// Validates a key from a manifest or a user: relative, at most 512 bytes, no empty, `.`, `..` or hidden
/// parts, and no control or special characters.
pub fn check_key(key: &str) -> Result<&str, InvalidName> {
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.');
    let bad_char =
        |c: char| c.is_control() || matches!(c, '\\' | '*' | '?' | '#' | '%' | '"' | '<' | '>' | '|');
    let why = if key.is_empty() || key.len() > MAX_KEY {
        "must be 1 to 512 bytes long"
    } else if key.split('/').any(bad_part) {
        "must not have an empty part or one that starts with a dot"
    } else if key.contains(bad_char) {
        "must not contain control characters or any of \\ * ? # % \" < > |"
    } else {
        return Ok(key);
    };
    Err(InvalidName { what: "key", text: shortened(key), why })
}

fn shortened(text: &str) -> String {
    quote::shortened(text, 80).into_owned()
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_ids_that_could_leave_their_folder() {
        for bad in ["", "a/b", "../x", "..", ".hidden", "a\\b", "a b", "ä", "a\0", "a..b", &"x".repeat(129)]
        {
            assert!(JobId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "8f14e45f-ceea-467f-9d5a-0d2c3c1b6d11", "game.2", "A_b-1"] {
            assert_eq!(
                JobId::from_manifest_key(&JobId::new(good).unwrap().manifest_key()).unwrap().as_str(),
                good
            );
        }
        assert!(JobId::from_manifest_key("jobs/x.txt").is_err());
        assert!(JobId::from_manifest_key("jobs/sub/x.json").is_err());
    }

    #[test]
    fn video_key_keeps_only_alphanumeric_extensions() {
        let id = JobId::new("j").unwrap();
        assert_eq!(id.video_key(Some("MKV")), "videos/j.mkv");
        assert_eq!(id.video_key(Some("../x")), "videos/j.mp4");
        assert_eq!(id.video_key(Some(&"x".repeat(246))), "videos/j.mp4");
        assert_eq!(id.video_key(None), "videos/j.mp4");
    }

    #[test]
    fn rejects_keys_that_could_leave_the_bucket() {
        for bad in
            ["", "/etc/passwd", "videos/../../x", "videos//x", "a/.locks/x", "a\nb", "..", "videos/x?y"]
        {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key("videos/My game 1.mp4").is_ok());
    }
}
