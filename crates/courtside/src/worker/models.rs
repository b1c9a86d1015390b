//! The checkpoint: checked before anything is claimed, loaded with the first job, and kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sam3::{Device, Model, Precision};

use crate::failure::Outcome;
use crate::model_places;

/// A model that is loaded once.
#[derive(Clone)]
pub(super) struct Models {
    folder: PathBuf,
    precision: Precision,
    loaded: Arc<OnceLock<Arc<Model>>>,
}

impl Models {
    /// Finds the checkpoint and checks that it is whole.
    pub(super) fn find(folder: Option<&Path>, precision: Precision) -> Outcome<Self> {
        let folder = model_places::find(folder)?;
        Model::check(&folder)?;
        Ok(Self { folder, storage, loaded: Arc::default() })
    }

    /// The model. Blocks while it is loaded.
    pub(super) fn get(&self) -> Outcome<Arc<Model>> {
        if let Some(model) = self.loaded.get() {
            return Ok(model.clone());
        }
        let model = Arc::new(Model::load(&self.folder, self.storage, &Device::Cpu)?);
        Ok(self.loaded.get_or_init(|| model).clone())
    }
}
