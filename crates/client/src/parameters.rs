//! Completing a job's parameters with the settings. [`Parameters`] itself has the defaults and the limits.

use jobs::manifest::{DEFAULT_CONFIDENCE, Parameters};

use crate::settings::Settings;

/// The parameters that a user gave. `None` takes the setting, then the default.
#[derive(Debug, Clone, Default)]
pub struct RequestedParameters {
    /// Track every N-th frame.
    pub sample_interval: Option<u64>,
    /// Lowest confidence in the results, 0 to 1.
    pub confidence_threshold: Option<f64>,
    /// The phrase that names what to track.
    pub prompt: Option<String>,
    /// Track only this many seconds from the beginning.
    pub max_seconds: Option<f64>,
    /// Fail the job if more than this share of the frames (0 to 1) cannot be decoded.
    pub max_missing: Option<f64>,
}

impl RequestedParameters {
    /// Fills in settings and defaults. Without a prompt anywhere, the worker applies its default.
    pub fn resolve(self, settings: &Settings) -> Parameters {
        let defaults = Parameters::default();
        let confidence = self.confidence_threshold.or(settings.confidence_threshold);
        Parameters {
            sample_interval: self.sample_interval.unwrap_or(defaults.sample_interval),
            confidence_threshold: confidence.unwrap_or(DEFAULT_CONFIDENCE),
            prompt: self.prompt.or_else(|| settings.prompt.clone()),
            max_seconds: self.max_seconds,
            max_missing: self.max_missing,
            ..defaults
        }
    }
}
