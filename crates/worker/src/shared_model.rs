//! The worker's model: its folder is checked before a job is claimed, its weights are loaded with the first job and
//! shared by all jobs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sam3::{Footprint, Model, VideoConfig};

use crate::engine::Engine;
use crate::failure::EngineResult;
use crate::model_folder;
use client::failure::Outcome;
use client::terminal::notify;

/// A model that is loaded once. Clones share it.
#[derive(Clone)]
pub(super) struct SharedModel {
    folder: PathBuf,
    engine: Engine,
    config: VideoConfig,
    loaded: Arc<Mutex<Option<Arc<Model>>>>,
}

impl SharedModel {
    /// Finds the model folder, downloading the model if this machine has none, and checks that it is complete. Blocks.
    pub(super) fn find(folder: Option<&Path>, engine: Engine) -> Outcome<Self> {
        let folder = model_folder::find(folder)?;
        let config = Model::check(&folder).or_failure()?;
        Ok(Self { folder, engine, config, loaded: Arc::default() })
    }

    /// The device that the model is loaded to.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Prints the GPU and how much of its memory tracking needs. Prints nothing for a CPU.
    pub(super) fn announce(&self, max_objects: usize) {
        if !self.engine.is_gpu() {
            return;
        }
        notify(format!("tracking on {}", self.engine.describe()));
        let Ok(footprint) = Footprint::of(&self.config, self.engine.precision, max_objects) else { return };
        notify(format!("{footprint}"));
        let free = sam3::device::memory(&self.engine.device).map(|memory| memory.free);
        if free.is_some_and(|free| free < footprint.total()) {
            notify("the GPU has less free memory than that: a smaller --max-tracks needs less");
        }
    }

    /// The loaded model. Blocks while it is being loaded, by this call or by another.
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
        let options = EngineOptions { device: DeviceChoice::Cpu, weights: None, kernels: KernelChoice::Auto };
        let engine = Engine::open(options).unwrap();
        let model = SharedModel::find(Some(&folder), engine).unwrap();
        let [first, second] = std::thread::scope(|scope| {
            [model.clone(), model]
                .map(|model| scope.spawn(move || model.get().unwrap()))
                .map(|thread| thread.join().unwrap())
        });
        assert!(Arc::ptr_eq(&first, &second));
    }
}
