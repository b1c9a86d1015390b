//! What an attempt tracks: the manifest's parameters and the worker's options.

use std::path::Path;

use jobs::keys::usable_extension;
use jobs::manifest::Manifest;
use sam3::{Compat, DEFAULT_RETIRE_AFTER};

use super::RunningAttempt;
use crate::track::TrackRequest;

impl RunningAttempt<'_> {
    /// The request for a job. Its files are in the workspace.
    pub(super) fn track_request(&self, manifest: &Manifest) -> TrackRequest {
        let key = manifest.video_key();
        let extension = usable_extension(Path::new(&key).extension().and_then(|e| e.to_str()));
        let parameters = &manifest.parameters;
        let prompt = match (&parameters.prompt, &self.options.default_prompt) {
            (None, Some(default)) => default.clone(),
            _ => manifest.prompt().to_owned(),
        };
        TrackRequest {
            video: self.workspace.file(&format!("video.{extension}")),
            stream: manifest.video.as_ref().and_then(|video| video.stream),
            prompts: vec![prompt],
            out: self.workspace.file("results.json"),
            annotated: None,
            mot: None,
            dump: None,
            checkpoint: Some(self.workspace.file("run.checkpoint")),
            checkpoint_interval: self.options.checkpoint_interval,
            from: 0,
            to: None,
            max_seconds: parameters.max_seconds,
            max_missing: parameters.max_missing_or_default(),
            every: parameters.sample_interval,
            streaming: false,
            compat: Compat::Fixed,
            max_objects: Some(self.options.max_objects),
            retire_after: Some(DEFAULT_RETIRE_AFTER),
        }
    }
}
