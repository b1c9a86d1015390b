//! The parameters of a job: their defaults, their limits, and the range of frames that follows from them.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Prompt of jobs whose manifest has none.
pub const DEFAULT_PROMPT: &str = "basketball player";
/// Confidence threshold of jobs whose manifest has none.
pub const DEFAULT_CONFIDENCE: f64 = 0.25;
/// Share of the frames that may be missing if the manifest does not say.
pub const DEFAULT_MAX_MISSING: f64 = 0.1;
/// Longest prompt, in characters.
pub const MAX_PROMPT_CHARS: usize = 500;
/// Largest number of words in a prompt. The model reads 32 tokens, two of which mark the ends, and a word is
/// at least one token.
pub const MAX_PROMPT_WORDS: usize = 30;

/// How to process the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Track every n-th frame, at least 1.
    #[serde(default = "default_sample_interval", deserialize_with = "sample_interval")]
    pub sample_interval: u64,
    /// Leave detections below this confidence (0 to 1) out of the results.
    #[serde(default = "default_confidence", deserialize_with = "confidence")]
    pub confidence_threshold: f64,
    /// Key of the video; `videos/{job_id}.mp4` if `None`.
    #[serde(default)]
    pub video_key: Option<String>,
    /// Phrase that describes what to track; see [`Self::prompt_or_default`].
    #[serde(default)]
    pub prompt: Option<String>,
    /// Process only the first seconds of the video; all of it if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Share of the frames (0 to 1) that may be missing because they cannot be decoded; the job fails if more are.
    /// [`DEFAULT_MAX_MISSING`] if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_missing: Option<f64>,
    /// Fields that this version does not know, preserved on write.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            sample_interval: default_sample_interval(),
            confidence_threshold: DEFAULT_CONFIDENCE,
            video_key: None,
            prompt: None,
            max_seconds: None,
            max_missing: None,
            rest: Map::new(),
        }
    }
}

/// A parameter that a submitter must not write.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidParameter {
    /// The sample interval is 0.
    #[error("sample_interval must be at least 1")]
    SampleInterval,
    /// The confidence threshold is not in 0..=1.
    #[error("confidence_threshold is {0}; it must be 0 to 1")]
    ConfidenceThreshold(f64),
    /// The prompt is blank or longer than [`MAX_PROMPT_CHARS`].
    #[error("prompt must be 1 to {MAX_PROMPT_CHARS} characters long")]
    PromptLength,
    /// The prompt has more than [`MAX_PROMPT_WORDS`] words; the number of words it has.
    #[error("prompt has {0} words; the model reads at most {MAX_PROMPT_WORDS}")]
    PromptWords(usize),
    /// The time limit is zero, negative, or not finite.
    #[error("max_seconds must be more than 0")]
    MaxSeconds,
    /// The share of missing frames is not in 0..=1.
    #[error("max_missing is {0}; it must be 0 to 1")]
    MaxMissing(f64),
}

impl Parameters {
    /// The prompt, or [`DEFAULT_PROMPT`] if it is missing or blank.
    pub fn prompt_or_default(&self) -> &str {
        self.prompt.as_deref().filter(|prompt| !prompt.trim().is_empty()).unwrap_or(DEFAULT_PROMPT)
    }

    /// Checks the parameters of a new job.
    ///
    /// # Errors
    /// For the first parameter that readers would reject, or that makes no sense.
    pub fn validate(&self) -> Result<(), InvalidParameter> {
        if self.sample_interval == 0 {
            return Err(InvalidParameter::SampleInterval);
        }
        if !(0.0..=1.0).contains(&self.confidence_threshold) {
            return Err(InvalidParameter::ConfidenceThreshold(self.confidence_threshold));
        }
        if let Some(prompt) = &self.prompt {
            if prompt.trim().is_empty() || prompt.chars().count() > MAX_PROMPT_CHARS {
                return Err(InvalidParameter::PromptLength);
            }
            let n_words = prompt.split_whitespace().count();
            if n_words > MAX_PROMPT_WORDS {
                return Err(InvalidParameter::PromptWords(n_words));
            }
        }
        if self.max_seconds.is_some_and(|seconds| !seconds.is_finite() || seconds <= 0.0) {
            return Err(InvalidParameter::MaxSeconds);
        }
        match self.max_missing {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(InvalidParameter::MaxMissing(share)),
            _ => Ok(()),
        }
    }

    /// Share of the frames that may be missing, 0 to 1.
    pub fn max_missing_or_default(&self) -> f64 {
        self.max_missing.filter(|share| (0.0..=1.0).contains(share)).unwrap_or(DEFAULT_MAX_MISSING)
    }

    /// The source frame before which tracking ends, for a video of `n_frames` frames at `fps` frames per
    /// second.
    pub fn end_frame(&self, n_frames: u64, fps: f64) -> u64 {
        self.max_seconds.map_or(n_frames, |seconds| n_frames.min(frames_within(seconds, fps)))
    }

    /// Number of frames to track in a video of `n_frames` frames at `fps` frames per second.
    pub fn n_tracked_frames(&self, n_frames: u64, fps: f64) -> u64 {
        self.end_frame(n_frames, fps).div_ceil(self.sample_interval.max(1))
    }
}

/// Number of frames in the first `seconds` of a video: rounded up, and at least 1.
pub fn frames_within(seconds: f64, fps: f64) -> u64 {
    (seconds * fps).ceil().max(1.0) as u64
}

fn default_sample_interval() -> u64 {
    1
}

fn default_confidence() -> f64 {
    DEFAULT_CONFIDENCE
}

fn sample_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(0) => Err(serde::de::Error::custom("sample_interval is 0; it must be at least 1")),
        value => Ok(value.unwrap_or_else(default_sample_interval)),
    }
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(value) if !(0.0..=1.0).contains(&value) => {
            Err(serde::de::Error::custom(InvalidParameter::ConfidenceThreshold(value)))
        }
        value => Ok(value.unwrap_or(DEFAULT_CONFIDENCE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_follow_from_seconds_and_sample_interval() {
        let with = |sample_interval, max_seconds| Parameters {
            sample_interval,
            max_seconds,
            ..Parameters::default()
        };
        assert_eq!(with(1, None).n_tracked_frames(100, 25.0), 100);
        assert_eq!(with(3, None).n_tracked_frames(100, 25.0), 34);
        assert_eq!(with(1, Some(1.01)).end_frame(100, 25.0), 26);
        assert_eq!(with(2, Some(1.0)).n_tracked_frames(100, 25.0), 13);
        assert_eq!(with(1, Some(60.0)).end_frame(100, 25.0), 100);
        // With an unknown frame rate, at least the first frame is tracked.
        assert_eq!(with(1, Some(60.0)).end_frame(100, 0.0), 1);
    }

    #[test]
    fn validation_names_the_parameter() {
        let invalid = |parameters: Parameters| parameters.validate().unwrap_err().to_string();
        let default = Parameters::default;
        assert_eq!(default().validate(), Ok(()));
        assert!(invalid(Parameters { sample_interval: 0, ..default() }).contains("sample_interval"));
        assert!(
            invalid(Parameters { confidence_threshold: f64::NAN, ..default() })
                .contains("confidence_threshold")
        );
        for prompt in [" ".to_owned(), "x".repeat(501), "a ".repeat(31)] {
            assert!(invalid(Parameters { prompt: Some(prompt), ..default() }).starts_with("prompt"));
        }
        for seconds in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(invalid(Parameters { max_seconds: Some(seconds), ..default() }).contains("max_seconds"));
        }
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(invalid(Parameters { max_missing: Some(share), ..default() }).contains("max_missing"));
        }
    }
}
