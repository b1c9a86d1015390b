//! The checkpoint: checked before anything is claimed, loaded with the first job, and kept.

use crate::failure::EngineResult;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sam3::{Footprint, Model, VideoConfig};

use crate::engine::Engine;
use crate::model_folder;
use client::failure::Outcome;
use client::terminal::notify;

/// A model that is loaded once.
#[derive(Clone)]
pub(super) struct Models {
    folder: PathBuf,
    engine: Engine,
    config: VideoConfig,
    loaded: Arc<Mutex<Option<Arc<Model>>>>,
}

impl Models {
    /// Finds the checkpoint and checks that it is whole.
    pub(super) fn find(folder: Option<&Path>, engine: Engine) -> Outcome<Self> {
        let folder = model_folder::find(folder)?;
        let config = Model::check(&folder).or_failure()?;
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
        notify(format!("tracking on {}", self.engine.describe()));
        let Ok(footprint) = Footprint::of(&self.config, self.engine.precision, max_objects) else { return };
        notify(format!("{footprint}"));
        let free = sam3::device::memory(&self.engine.device).map(|memory| memory.free);
        if free.is_some_and(|free| free < footprint.total()) {
            notify("that is more than is free on the GPU: a smaller --max-objects takes less");
        }
    }

    /// The model. Blocks while it is loaded, by whichever job comes first.
    pub(super) fn get(&self) -> Outcome<Arc<Model>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*loaded {
            return Ok(model.clone());
        }
        let model = Arc::new(self.engine.load(&self.folder)?);
        Ok(loaded.insert(model).clone())
    }
}

#[cfg(test)]
mod tests {
    use sam3::device::DeviceChoice;

    use super::*;
    use crate::engine::{EngineOptions, KernelChoice};

    #[test]
    fn jobs_that_start_together_share_one_model() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wide");
        let args = EngineOptions { device: DeviceChoice::Cpu, weights: None, kernels: KernelChoice::Auto };
        let engine = Engine::open(args).unwrap();
        let models = Models::find(Some(&folder), engine).unwrap();
        let [first, second] = std::thread::scope(|scope| {
            [models.clone(), models]
                .map(|models| scope.spawn(move || models.get().unwrap()))
                .map(|job| job.join().unwrap())
        });
        assert!(Arc::ptr_eq(&first, &second));
    }
}
