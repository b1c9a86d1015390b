//! Copies of a fixture's model folder, to be changed or damaged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sam3::{Device, Tensor};
use tempfile::TempDir;

use crate::fixture::root;

/// A temporary model folder, deleted when dropped.
pub(crate) struct Copy(TempDir);

impl Copy {
    /// Copies the files that a model is loaded from.
    pub(crate) fn of(name: &str) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for entry in std::fs::read_dir(root().join(name)).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            let is_reference = ["reference", "layers", "PROVENANCE"].iter().any(|p| file.starts_with(p));
            if !is_reference {
                std::fs::copy(&path, copy.path(file)).unwrap();
            }
        }
        copy
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Edits a JSON file in place.
    pub(crate) fn edit_json(&self, file: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let path = self.path(file);
        let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        edit(&mut json);
        std::fs::write(path, json.to_string()).unwrap();
    }

    /// All tensors, from one file or from all shards.
    pub(crate) fn tensors(&self) -> HashMap<String, Tensor> {
        let files = std::fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|e| e == "safetensors"));
        files.flat_map(|path| candle_core::safetensors::load(path, &Device::Cpu).unwrap()).collect()
    }

    /// Replaces the weights by a single file.
    pub(crate) fn write_tensors(&self, tensors: &HashMap<String, Tensor>) {
        for entry in std::fs::read_dir(self.folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().contains("safetensors") {
                std::fs::remove_file(path).unwrap();
            }
        }
        candle_core::safetensors::save(tensors, self.path("model.safetensors")).unwrap();
    }

    /// Edits the tensors, and stores them in a single file.
    pub(crate) fn edit_tensors(&self, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
        let mut tensors = self.tensors();
        edit(&mut tensors);
        self.write_tensors(&tensors);
    }
}
