//! The stage of an attempt, as heartbeats report it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the owner of a job is doing. Unknown stages of other versions are kept and written back unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Stage {
    /// The job was claimed, and no stage has been reported yet. Written as an empty string.
    #[default]
    Claimed,
    /// Downloading the video. Progress is in bytes.
    Downloading,
    /// Preparing to track: loading models, opening the video, restoring a checkpoint.
    Starting,
    /// Tracking. Progress is in frames.
    Tracking,
    /// Writing and uploading the results. Written as `publishing`; `uploading` is accepted too.
    Publishing,
    /// A stage that this version does not know.
    Other(String),
}

impl Stage {
    /// The spelling in manifests and status objects.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Claimed => "",
            Self::Downloading => "downloading",
            Self::Starting => "starting",
            Self::Tracking => "tracking",
            Self::Publishing => "publishing",
            Self::Other(text) => text,
        }
    }
}

impl From<String> for Stage {
    fn from(text: String) -> Self {
        match text.as_str() {
            "" => Self::Claimed,
            "downloading" => Self::Downloading,
            "starting" => Self::Starting,
            "tracking" => Self::Tracking,
            "publishing" | "uploading" => Self::Publishing,
            _ => Self::Other(text),
        }
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Other(text) => text,
            known => known.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_keep_their_spelling() {
        for text in ["", "downloading", "starting", "tracking", "publishing", "warming up"] {
            let stage: Stage = serde_json::from_value(text.into()).unwrap();
            assert_eq!(serde_json::to_value(&stage).unwrap(), text);
        }
        assert_eq!(Stage::from("uploading".to_owned()), Stage::Publishing);
        assert_eq!(Stage::from("warming up".to_owned()), Stage::Other("warming up".to_owned()));
    }
}
