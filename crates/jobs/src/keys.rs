//! Names in the bucket: job ids and the keys made of them. Keys and ids that come from outside are checked
//! here, once: what passed cannot leave the bucket's folder.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest job id.
const MAX_ID: usize = 128;
/// Longest key (R2's limit is 1,024 bytes).
const MAX_KEY: usize = 512;

/// Where registers lie.
pub const JOBS: &str = "jobs/";
/// Where videos lie.
pub const VIDEOS: &str = "videos/";
/// Where results lie.
pub const RESULTS: &str = "results/";
/// The cache of finished registers.
pub const INDEX: &str = "index/jobs.json";

/// Name of a job: 1 to 128 of `A-Z a-z 0-9 - _ .`, not beginning with a dot, without two dots in a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// Why a text is no job id or key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {why}")]
pub struct BadName {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl JobId {
    /// Checks a text.
    pub fn new(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let why = if text.is_empty() || text.len() > MAX_ID {
            "is not 1 to 128 characters long"
        } else if !text.bytes().all(allowed) {
            "has other characters than letters, digits, '-', '_' and '.'"
        } else if text.starts_with('.') || text.contains("..") {
            "begins with a dot or has two in a row"
        } else {
            return Ok(Self(text));
        };
        Err(BadName { what: "job id", text: shortened(&text), why })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `jobs/{id}.json`, the register.
    pub fn register(&self) -> String {
        format!("{JOBS}{self}.json")
    }

    /// `status/{id}.json`.
    pub fn status(&self) -> String {
        format!("status/{self}.json")
    }

    /// `results/{id}.json`.
    pub fn results(&self) -> String {
        format!("{RESULTS}{self}.json")
    }

    /// `videos/{id}.{ext}`; `mp4` if the extension is none or odd.
    pub fn video(&self, extension: Option<&str>) -> String {
        let usable = |e: &&str| (1..=8).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphanumeric());
        let extension = extension.filter(usable).unwrap_or("mp4").to_ascii_lowercase();
        format!("{VIDEOS}{self}.{extension}")
    }

    /// `checkpoints/{id}/`, the prefix of all checkpoints.
    pub fn checkpoints(&self) -> String {
        format!("checkpoints/{self}/")
    }

    /// One file of a checkpoint. No other attempt uses the name.
    pub fn checkpoint(&self, attempt: u32, seq: u64, file: &str) -> String {
        format!("checkpoints/{self}/{attempt:04}-{seq:06}/{file}")
    }

    /// `logs/{id}/`, the prefix of all logs.
    pub fn logs(&self) -> String {
        format!("logs/{self}/")
    }

    /// The log of one attempt.
    pub fn log(&self, attempt: u32) -> String {
        format!("logs/{self}/{attempt:04}.log")
    }

    /// The id that a register's key names.
    pub fn of_register(key: &str) -> Result<Self, BadName> {
        let stem = key.strip_prefix(JOBS).and_then(|rest| rest.strip_suffix(".json"));
        match stem {
            Some(stem) => Self::new(stem),
            None => Err(BadName {
                what: "key",
                text: shortened(key),
                why: "is not of the form jobs/{job_id}.json",
            }),
        }
    }
}

/// Checks a key that came from a manifest or a user: relative, no empty, `.` or `..` parts, nothing hidden, no
/// control characters.
pub fn check_key(key: &str) -> Result<&str, BadName> {
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.');
    let bad_char =
        |c: char| c.is_control() || matches!(c, '\\' | '*' | '?' | '#' | '%' | '"' | '<' | '>' | '|');
    let why = if key.is_empty() || key.len() > MAX_KEY {
        "is not 1 to 512 bytes long"
    } else if key.split('/').any(bad_part) {
        "has an empty part or one that begins with a dot"
    } else if key.contains(bad_char) {
        "has characters that a key must not have"
    } else {
        return Ok(key);
    };
    Err(BadName { what: "key", text: shortened(key), why })
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::new(text)
    }
}

impl TryFrom<String> for JobId {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
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
    fn ids_that_could_leave_their_folder_are_refused() {
        for bad in ["", "a/b", "../x", "..", ".hidden", "a\\b", "a b", "ä", "a\0", "a..b", &"x".repeat(129)]
        {
            assert!(JobId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "8f14e45f-ceea-467f-9d5a-0d2c3c1b6d11", "game.2", "A_b-1"] {
            assert_eq!(JobId::of_register(&JobId::new(good).unwrap().register()).unwrap().as_str(), good);
        }
        assert!(JobId::of_register("jobs/x.txt").is_err());
        assert!(JobId::of_register("jobs/sub/x.json").is_err());
    }

    #[test]
    fn a_video_keeps_a_sane_extension() {
        let id = JobId::new("j").unwrap();
        assert_eq!(id.video(Some("MKV")), "videos/j.mkv");
        assert_eq!(id.video(Some("../x")), "videos/j.mp4");
        assert_eq!(id.video(None), "videos/j.mp4");
    }

    #[test]
    fn keys_from_outside_stay_inside() {
        for bad in
            ["", "/etc/passwd", "videos/../../x", "videos//x", "a/.locks/x", "a\nb", "..", "videos/x?y"]
        {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        assert!(check_key("videos/My game 1.mp4").is_ok());
    }
}
