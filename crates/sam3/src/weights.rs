//! Where parameters come from: a checkpoint folder as Hugging Face lays it out, memory-mapped, or random
//! numbers of the right shape.
//!
//! Loading never stops at the first bad tensor: every missing, misshapen or unused one is collected and
//! reported together by [`Weights::finish`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Shape, Tensor};

use crate::error::{Error, Result};
use crate::fnv::Fnv;
use crate::model::Precision;

/// Modules of the checkpoint that text-prompted tracking never runs. Their tensors may be present or not.
const NOT_RUN: &[&str] = &[
    "detector_model.geometry_encoder.",
    "detector_model.mask_decoder.semantic_projection.",
    "detector_model.text_encoder.text_projection.",
    "tracker_model.prompt_encoder.point_embed.",
    "tracker_model.prompt_encoder.shared_embedding.",
    "tracker_model.no_memory_embedding",
    "tracker_model.no_memory_positional_encoding",
];

/// Tables that older exports store and that are computed here.
const RECOMPUTED: &[&str] = &[".position_ids", ".inv_freq", ".original_inv_freq"];

enum Source {
    Files {
        tensors: MmapedSafetensors,
        names: BTreeSet<String>,
        check_only: bool,
    },
    Random {
        state: u64,
    },
    /// Only what tensors there would be.
    Shapes {
        n_bytes: u64,
    },
    /// Values by key and shape; `None` where there is no such tensor.
    #[cfg(test)]
    Function(Box<Function>),
}

#[cfg(test)]
type Function = dyn Fn(&str, &[usize]) -> Option<Vec<f32>>;

struct Shared {
    source: RefCell<Source>,
    used: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<String>>,
    ignored: RefCell<Vec<String>>,
    /// Digest of the small tensors that were loaded.
    digest: Cell<Fnv>,
    precision: Precision,
    device: Device,
}

/// A place in the tree of parameters, like `detector_model.detr_encoder.layers.0`.
#[derive(Clone)]
pub(crate) struct Weights {
    shared: Rc<Shared>,
    prefix: String,
}

impl Weights {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` lists. With `check_only`,
    /// shapes are compared and no data is read.
    pub(crate) fn open(
        folder: &Path,
        precision: Precision,
        device: &Device,
        check_only: bool,
    ) -> Result<Self> {
        let files = weight_files(folder)?;
        let wrong = |path: &Path, error: candle_core::Error| Error::Checkpoint {
            path: path.to_owned(),
            what: format!("not a whole safetensors file ({error}); download it again"),
        };
        // One by one first, so that the error names the damaged one.
        for file in &files {
            map(std::slice::from_ref(file)).map_err(|e| wrong(file, e))?;
        }
        let tensors = map(&files).map_err(|e| wrong(folder, e))?;
        let names = tensors.tensors().into_iter().map(|(name, _)| name).collect();
        Ok(Self::new(Source::Files { tensors, names, check_only }, precision, device))
    }

    /// Random parameters for benchmarks: any shape that is asked for exists.
    pub(crate) fn random(seed: u64, precision: Precision, device: &Device) -> Self {
        Self::new(Source::Random { state: seed | 1 }, precision, device)
    }

    /// No parameters but zeros, to learn how much memory they would take; see [`Self::n_bytes`].
    pub(crate) fn shapes(precision: Precision) -> Self {
        Self::new(Source::Shapes { n_bytes: 0 }, precision, &Device::Cpu)
    }

    /// Bytes of all parameters that were asked for, where only their shapes are known.
    pub(crate) fn n_bytes(&self) -> u64 {
        match &*self.shared.source.borrow() {
            Source::Shapes { n_bytes } => *n_bytes,
            _ => 0,
        }
    }

    /// Parameters that a function computes.
    #[cfg(test)]
    pub(crate) fn by(
        precision: Precision,
        device: &Device,
        function: impl Fn(&str, &[usize]) -> Option<Vec<f32>> + 'static,
    ) -> Self {
        Self::new(Source::Function(Box::new(function)), precision, device)
    }

    fn new(source: Source, precision: Precision, device: &Device) -> Self {
        let shared = Shared {
            source: RefCell::new(source),
            used: RefCell::default(),
            problems: RefCell::default(),
            ignored: RefCell::default(),
            digest: Cell::default(),
            precision,
            device: device.clone(),
        };
        Self { shared: Rc::new(shared), prefix: String::new() }
    }

    /// The place `name` below this one.
    pub(crate) fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix =
            if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Self { shared: self.shared.clone(), prefix }
    }

    /// Says that the tensors below `name` belong to the model but are not run.
    pub(crate) fn ignore(&self, name: impl std::fmt::Display) {
        self.shared.ignored.borrow_mut().push(format!("{}.", self.pp(name).prefix));
    }

    /// The device that parameters live on.
    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    /// The type of activations.
    pub(crate) fn activations(&self) -> DType {
        self.shared.precision.activations()
    }

    /// The parameter `name` of exactly this shape, in the type of large weights. A problem is recorded and zeros are
    /// returned, so that one load reports them all.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_as(shape, name, self.shared.precision.weights())
    }

    /// Like [`Self::get`], in the type of activations: for what is added to them.
    pub(crate) fn get_added(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_as(shape, name, self.activations())
    }

    /// Like [`Self::get`], always f32: for norms, and for what tables are computed from.
    pub(crate) fn get_f32(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_as(shape, name, DType::F32)
    }

    fn get_as(&self, shape: impl Into<Shape>, name: &str, dtype: DType) -> Result<Tensor> {
        let shape = shape.into();
        let key = self.pp(name).prefix;
        let zeros = || Ok(Tensor::zeros(&shape, dtype, &self.shared.device)?);
        match &mut *self.shared.source.borrow_mut() {
            Source::Random { state } => {
                let fan_in = (shape.elem_count() / shape.dims().first().copied().unwrap_or(1)).max(1);
                let is_norm = name == "weight" && shape.rank() == 1;
                let scale = if shape.rank() > 1 { (3.0 / fan_in as f32).sqrt() } else { 0.05 };
                let data = random(state, shape.elem_count(), scale, if is_norm { 1.0 } else { 0.0 });
                Ok(Tensor::from_vec(data, &shape, &self.shared.device)?.to_dtype(dtype)?)
            }
            Source::Shapes { n_bytes } => {
                *n_bytes += (shape.elem_count() * dtype.size_in_bytes()) as u64;
                zeros()
            }
            #[cfg(test)]
            Source::Function(function) => match function(&key, shape.dims()) {
                Some(data) => Ok(Tensor::from_vec(data, &shape, &self.shared.device)?.to_dtype(dtype)?),
                None => {
                    self.shared.problems.borrow_mut().push(format!("{key}: missing"));
                    zeros()
                }
            },
            Source::Files { tensors, names, check_only } => {
                let problem = |text: String| self.shared.problems.borrow_mut().push(text);
                let Some(stored) = spellings(&key).find(|k| names.contains(k)) else {
                    problem(format!("{key}: missing, expected shape {:?}", shape.dims()));
                    return zeros();
                };
                self.shared.used.borrow_mut().insert(stored.clone());
                let view = tensors.get(&stored)?;
                if view.shape() != shape.dims() {
                    problem(format!(
                        "{stored}: has shape {:?}, the config needs {:?}",
                        view.shape(),
                        shape.dims()
                    ));
                    return zeros();
                }
                if *check_only {
                    return zeros();
                }
                // Norms and biases of every module: whatever is trained changes some of them.
                const SMALL: usize = 1 << 14;
                if view.data().len() <= SMALL {
                    self.shared.digest.set(self.shared.digest.get().add(view.data()));
                }
                Ok(tensors.load(&stored, &self.shared.device)?.to_dtype(dtype)?)
            }
        }
    }

    /// Tells the weights of one checkpoint from those of another, after loading.
    pub(crate) fn digest(&self) -> Fnv {
        self.shared.digest.get()
    }

    /// Ends loading.
    ///
    /// # Errors
    /// [`Error::Tensors`] with every missing, misshapen or unused tensor.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut problems = self.shared.problems.borrow().clone();
        if let Source::Files { tensors, names, .. } = &*self.shared.source.borrow() {
            let used = self.shared.used.borrow();
            let ignored = self.shared.ignored.borrow();
            for name in names.difference(&used) {
                let key = name.replacen("tracker_model.tracker_model.", "tracker_model.", 1);
                let known = NOT_RUN.iter().any(|p| key.starts_with(p))
                    || ignored.iter().any(|p| key.starts_with(p.as_str()))
                    || RECOMPUTED.iter().any(|s| key.ends_with(s));
                if !known {
                    let shape = tensors.get(name)?.shape().to_vec();
                    problems.push(format!("{name}: shape {shape:?}, and nothing in the config uses it"));
                }
            }
        }
        const SHOWN: usize = 20;
        if problems.len() > SHOWN {
            let more = problems.len() - SHOWN;
            problems.truncate(SHOWN);
            problems.push(format!("and {more} more"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Tensors { problems }) }
    }
}

/// The spellings of a key: as on the hub, and as transformers' `save_pretrained` writes the tracker's.
fn spellings(key: &str) -> impl Iterator<Item = String> {
    let doubled =
        key.strip_prefix("tracker_model.").map(|rest| format!("tracker_model.tracker_model.{rest}"));
    std::iter::once(key.to_owned()).chain(doubled)
}

/// Maps safetensors files and reads their headers.
fn map(files: &[PathBuf]) -> candle_core::Result<MmapedSafetensors> {
    #[expect(unsafe_code, reason = "a memory map; the checkpoint must not be rewritten while it is loaded")]
    unsafe {
        MmapedSafetensors::multi(files)
    }
}

/// Uniform numbers in `offset ± scale` (xorshift64).
fn random(state: &mut u64, n: usize, scale: f32, offset: f32) -> Vec<f32> {
    (0..n)
        .map(|_| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            offset + scale * ((*state >> 40) as f32 / 8_388_608.0 - 1.0)
        })
        .collect()
}

/// The safetensors files of a checkpoint folder.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    let wrong = |what: String| Error::Checkpoint { path: index.clone(), what };
    if !index.is_file() {
        return Err(Error::Checkpoint {
            path: folder.to_owned(),
            what: "holds neither model.safetensors nor model.safetensors.index.json".into(),
        });
    }
    let text = std::fs::read_to_string(&index).map_err(|e| wrong(e.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| wrong("has no weight_map".into()))?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    let mut files = Vec::new();
    for name in names {
        // A shard is a file beside the index: anything else would read outside the folder.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(wrong(format!("names a shard outside its folder: {name}")));
        }
        let path = folder.join(name);
        if !path.is_file() {
            return Err(Error::Checkpoint { path, what: "a shard that the index lists is missing".into() });
        }
        files.push(path);
    }
    if files.is_empty() { Err(wrong("lists no shards".into())) } else { Ok(files) }
}
