//! The checkpoint: checked before anything is claimed, loaded with the first job, and kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sam3::{Footprint, Model, VideoConfig};

use crate::engine::Engine;
use crate::failure::Outcome;
use crate::model_places;
use crate::say::say;

/// A model that is loaded once.
#[derive(Clone)]
pub(super) struct Models {
    folder: PathBuf,
    engine: Engine,
    config: VideoConfig,
    loaded: Arc<OnceLock<Arc<Model>>>,
}

impl Models {
    /// Finds the checkpoint and checks that it is whole.
    pub(super) fn find(folder: Option<&Path>, engine: Engine) -> Outcome<Self> {
        let folder = model_places::find(folder)?;
        let config = Model::check(&folder)?;
        Ok(Self { folder, engine, config, loaded: Arc::default() })
    }

    /// What it runs on.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Says what tracking will run on, and what of the GPU's memory it will take.
    pub(super) fn announce(&self, max_objects: usize) {
        if !self.engine.is_gpu() {
            return;
        }
        say(format!("tracking on {}", self.engine.describe()));
        let Ok(footprint) = Footprint::of(&self.config, self.engine.precision, max_objects) else { return };
        say(format!("{footprint}"));
        let free = sam3::device::memory(&self.engine.device).map(|memory| memory.free);
        if free.is_some_and(|free| free < footprint.total()) {
            say("that is more than is free on the GPU: a smaller --max-objects takes less");
        }
    }

    /// The model. Blocks while it is loaded.
    pub(super) fn get(&self) -> Outcome<Arc<Model>> {
        if let Some(model) = self.loaded.get() {
            return Ok(model.clone());
        }
        let Engine { device, precision } = &self.engine;
        let model = Arc::new(Model::load(&self.folder, *precision, device)?);
        Ok(self.loaded.get_or_init(|| model).clone())
    }
}
