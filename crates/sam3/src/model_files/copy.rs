//! Writing the weights of a model with half the bytes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use candle_core::safetensors::MmapedSafetensors;
use half::bf16;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, View};

use crate::error::{Error, Result};

/// Writes all tensors to one safetensors file. Tensors in f32 become bfloat16, except those in `kept`.
///
/// # Errors
/// [`Error::Model`] if the file cannot be written.
pub(super) fn write_bf16(tensors: &MmapedSafetensors, kept: &BTreeSet<String>, file: &Path) -> Result<()> {
    let views = tensors.tensors().into_iter().map(|(name, view)| {
        let is_rounded = view.dtype() == Dtype::F32 && !kept.contains(&name);
        let stored = if is_rounded { Stored::Rounded(view) } else { Stored::Unchanged(view) };
        (name, stored)
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), file)
        .map_err(|e| Error::Model { path: file.to_owned(), what: format!("cannot be written: {e}") })
}

/// A tensor as it is written. Its data is made when it is written, so that one tensor at a time is in memory.
enum Stored<'a> {
    Unchanged(TensorView<'a>),
    /// From f32 to bfloat16, to the nearest value, ties to even, as the engine rounds when it loads.
    Rounded(TensorView<'a>),
}

impl Stored<'_> {
    fn view(&self) -> &TensorView<'_> {
        match self {
            Self::Unchanged(view) | Self::Rounded(view) => view,
        }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Unchanged(view) => view.dtype(),
            Self::Rounded(_) => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        self.view().shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Unchanged(view) => Cow::Borrowed(view.data()),
            Self::Rounded(view) => {
                let (numbers, _) = view.data().as_chunks::<4>();
                Cow::Owned(
                    numbers
                        .iter()
                        .flat_map(|x| bf16::from_f32(f32::from_le_bytes(*x)).to_le_bytes())
                        .collect(),
                )
            }
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Self::Unchanged(view) => view.data().len(),
            Self::Rounded(view) => view.data().len() / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::model::Model;
    use crate::parity::{Checkpoint, folder, numbers};
    use crate::precision::Precision;

    const SMALL_FILES: [&str; 3] = ["config.json", "tokenizer.json", "processor_config.json"];

    fn copy_small_files(from: &Path, to: &Path) {
        for file in SMALL_FILES {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }

    fn load(folder: &Path) -> HashMap<String, Tensor> {
        candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
    }

    /// The model of the fixture `wide` with weights in f32 that bfloat16 does not hold, and a copy in bfloat16.
    fn original_and_copy() -> (tempfile::TempDir, tempfile::TempDir) {
        let (original, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        copy_small_files(&folder("wide"), original.path());
        copy_small_files(&folder("wide"), copy.path());
        let in_f32 = |tensor: &Tensor| (tensor.to_dtype(DType::F32).unwrap() * 1.001).unwrap();
        let tensors: HashMap<String, Tensor> =
            load(&folder("wide")).iter().map(|(name, tensor)| (name.clone(), in_f32(tensor))).collect();
        candle_core::safetensors::save(&tensors, original.path().join("model.safetensors")).unwrap();
        Model::write_bf16_weights(original.path(), &copy.path().join("model.safetensors")).unwrap();
        (original, copy)
    }

    #[test]
    fn each_tensor_is_unchanged_or_rounded() {
        let (original, copy) = original_and_copy();
        let (original, copy) = (load(original.path()), load(copy.path()));
        assert_eq!(original.len(), copy.len());
        let mut n_rounded = 0;
        for (name, tensor) in &original {
            let want = tensor.to_dtype(copy[name].dtype()).unwrap();
            assert_eq!(numbers(&want), numbers(&copy[name]), "{name}");
            n_rounded += usize::from(copy[name].dtype() == DType::BF16);
        }
        assert!(n_rounded > original.len() / 2, "{n_rounded} of {}", original.len());
        // Norms are computed in f32.
        let is_norm = |name: &&String| name.contains("layer_norm") && name.ends_with("weight");
        let norms: Vec<&String> = copy.keys().filter(is_norm).collect();
        assert!(!norms.is_empty());
        norms.iter().for_each(|name| assert_eq!(copy[*name].dtype(), DType::F32, "{name}"));
    }

    #[test]
    fn a_model_in_bfloat16_computes_the_same_from_the_copy() {
        let (original, copy) = original_and_copy();
        let image = Checkpoint::open("wide").pixel_values(0).to_dtype(DType::BF16).unwrap();
        let features = |folder: &Path| {
            let model = Model::load(folder, Precision::Bf16, &Device::Cpu).unwrap();
            numbers(&model.encode_image(&image).unwrap())
        };
        assert_eq!(features(copy.path()), features(original.path()));
    }
}
