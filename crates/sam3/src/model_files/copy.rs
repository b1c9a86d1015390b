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
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::model::Model;
    use crate::parity::{CHECKPOINTS, Checkpoint, folder, numbers};
    use crate::precision::Precision;

    /// A copy of a fixture with its weights in bfloat16.
    fn copied(name: &str) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for file in ["config.json", "tokenizer.json", "processor_config.json"] {
            std::fs::copy(folder(name).join(file), copy.path().join(file)).unwrap();
        }
        Model::write_bf16_weights(&folder(name), &copy.path().join("model.safetensors")).unwrap();
        copy
    }

    #[test]
    fn each_tensor_is_unchanged_or_rounded() {
        for name in CHECKPOINTS {
            let copy = copied(name);
            let load = |folder: &Path| {
                candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap()
            };
            let (original, copy) = (load(&folder(name)), load(copy.path()));
            assert_eq!(original.len(), copy.len());
            let mut n_rounded = 0;
            for (name, tensor) in &original {
                let want: Tensor = tensor.to_dtype(copy[name].dtype()).unwrap();
                assert_eq!(numbers(&want), numbers(&copy[name]), "{name}");
                n_rounded += usize::from(tensor.dtype() != copy[name].dtype());
            }
            assert!(n_rounded > original.len() / 2, "{name}: {n_rounded} of {}", original.len());
            // A norm is computed in f32.
            let norm = copy
                .iter()
                .find(|(name, _)| name.contains("layer_norm") && name.ends_with("weight"))
                .unwrap();
            assert_eq!(norm.1.dtype(), candle_core::DType::F32, "{}", norm.0);
        }
    }

    #[test]
    fn a_model_in_bfloat16_computes_the_same_from_the_copy() {
        for name in CHECKPOINTS {
            let (copy, image) = (copied(name), Checkpoint::open(name).pixel_values(0));
            let features = |folder: &Path| {
                let model = Model::load(folder, Precision::Bf16, &Device::Cpu).unwrap();
                numbers(&model.encode_image(&image.to_dtype(candle_core::DType::BF16).unwrap()).unwrap())
            };
            assert_eq!(features(copy.path()), features(&folder(name)));
        }
    }
}
