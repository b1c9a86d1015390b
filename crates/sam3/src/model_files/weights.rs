//! The source of a model's parameters: safetensors files in a model folder, memory-mapped, or random numbers of the
//! requested shapes.
//!
//! Loading does not stop at the first bad tensor. Missing, misshapen and unused tensors are collected, and
//! [`Weights::finish`] reports all of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Shape, Tensor};

use super::copy::write_bf16;
use super::family::Family;
use crate::error::{Error, Result};
use crate::fnv::Fnv;
use crate::precision::Precision;

enum Source {
    Files {
        family: Family,
        tensors: MmapedSafetensors,
        names: BTreeSet<String>,
        check_only: bool,
    },
    Random {
        state: u64,
    },
    /// Zeros; counts the bytes that are requested.
    Shapes {
        n_bytes: u64,
    },
    /// Values computed from key and shape; `None` for a missing tensor.
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
    /// Stored names of the tensors that are loaded in f32 whatever the precision.
    in_f32: RefCell<BTreeSet<String>>,
    /// Digest of the small tensors, in the order in which they were loaded.
    digest: Cell<Fnv>,
    precision: Precision,
    device: Device,
}

/// A node in the tree of parameters, such as `detector_model.detr_encoder.layers.0`. Clones share the source.
#[derive(Clone)]
pub(crate) struct Weights {
    shared: Rc<Shared>,
    prefix: String,
}

impl Weights {
    /// Maps `model.safetensors`, or the shards that `model.safetensors.index.json` lists. With `check_only`, shapes
    /// are compared but no data is read, and every parameter is zero.
    ///
    /// # Errors
    /// [`Error::Model`] for a missing or damaged file.
    pub(crate) fn open(
        folder: &Path,
        family: Family,
        precision: Precision,
        device: &Device,
        check_only: bool,
    ) -> Result<Self> {
        let files = weight_files(folder)?;
        let damaged = |path: &Path, error: candle_core::Error| Error::Model {
            path: path.to_owned(),
            what: format!("not a complete safetensors file ({error}); download it again"),
        };
        // Each file on its own first, so that the error names the damaged one.
        for file in &files {
            map(std::slice::from_ref(file)).map_err(|e| damaged(file, e))?;
        }
        let tensors = map(&files).map_err(|e| damaged(folder, e))?;
        let names = tensors.tensors().into_iter().map(|(name, _)| name).collect();
        Ok(Self::new(Source::Files { family, tensors, names, check_only }, precision, device))
    }

    /// Random parameters of any requested shape, for benchmarks.
    pub(crate) fn random(seed: u64, precision: Precision, device: &Device) -> Self {
        Self::new(Source::Random { state: seed | 1 }, precision, device)
    }

    /// Zeros of any requested shape, to find out how much memory the parameters take; see [`Self::n_bytes`].
    pub(crate) fn shapes(precision: Precision) -> Self {
        Self::new(Source::Shapes { n_bytes: 0 }, precision, &Device::Cpu)
    }

    /// Bytes of the parameters requested so far from [`Self::shapes`]; 0 for other sources.
    pub(crate) fn n_bytes(&self) -> u64 {
        match &*self.shared.source.borrow() {
            Source::Shapes { n_bytes } => *n_bytes,
            _ => 0,
        }
    }

    /// Parameters computed by a function of key and shape.
    #[cfg(test)]
    pub(crate) fn from_fn(
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
            in_f32: RefCell::default(),
            digest: Cell::default(),
            precision,
            device: device.clone(),
        };
        Self { shared: Rc::new(shared), prefix: String::new() }
    }

    /// The child `name` of this node.
    pub(crate) fn pp(&self, name: impl std::fmt::Display) -> Self {
        let prefix =
            if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Self { shared: self.shared.clone(), prefix }
    }

    /// Accepts tensors below `name` that the model has but the engine does not use.
    pub(crate) fn ignore(&self, name: impl std::fmt::Display) {
        self.shared.ignored.borrow_mut().push(format!("{}.", self.pp(name).prefix));
    }

    /// The device that parameters are loaded to.
    pub(crate) fn device(&self) -> &Device {
        &self.shared.device
    }

    /// The number type of activations.
    pub(crate) fn activations(&self) -> DType {
        self.shared.precision.activations()
    }

    /// The parameter `name`, which must have exactly this shape, in the type of large weights. If it is missing or
    /// has another shape, the problem is recorded for [`Self::finish`] and zeros are returned.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_as(shape, name, self.shared.precision.weights())
    }

    /// Like [`Self::get`], in the type of activations: for parameters that are added to activations.
    pub(crate) fn get_added(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.get_as(shape, name, self.activations())
    }

    /// Like [`Self::get`], always in f32: for norms, and for parameters that tables are computed from.
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
            Source::Files { family, tensors, names, check_only } => {
                let found = self.find_stored(&key, &shape, *family, tensors, names)?;
                if let Some(stored) = found.as_ref().filter(|_| dtype == DType::F32) {
                    self.shared.in_f32.borrow_mut().insert(stored.clone());
                }
                match found {
                    Some(stored) if !*check_only => {
                        self.add_to_digest(tensors.get(&stored)?.data());
                        Ok(tensors.load(&stored, &self.shared.device)?.to_dtype(dtype)?)
                    }
                    _ => zeros(),
                }
            }
        }
    }

    /// The name under which a tensor is stored; `None`, with the problem recorded, if it is missing or has another
    /// shape.
    fn find_stored(
        &self,
        key: &str,
        shape: &Shape,
        family: Family,
        tensors: &MmapedSafetensors,
        names: &BTreeSet<String>,
    ) -> Result<Option<String>> {
        let problem = |text: String| self.shared.problems.borrow_mut().push(text);
        let Some(stored) = family.stored_names(key).find(|name| names.contains(name)) else {
            problem(format!("{key}: missing, expected shape {:?}", shape.dims()));
            return Ok(None);
        };
        self.shared.used.borrow_mut().insert(stored.clone());
        let view = tensors.get(&stored)?;
        if view.shape() != shape.dims() {
            problem(format!("{stored}: has shape {:?}, the config needs {:?}", view.shape(), shape.dims()));
            return Ok(None);
        }
        Ok(Some(stored))
    }

    /// Adds a tensor to the digest if it is small: norms and biases of every module, some of which any training
    /// changes.
    fn add_to_digest(&self, data: &[u8]) {
        const SMALL: usize = 1 << 14;
        if data.len() <= SMALL {
            self.shared.digest.set(self.shared.digest.get().add(data));
        }
    }

    /// Distinguishes the weights of one model from another's. Complete once everything is loaded.
    pub(crate) fn digest(&self) -> Fnv {
        self.shared.digest.get()
    }

    /// Writes all tensors to one file, in bfloat16 where they were loaded in bfloat16. A model with [`Precision::Bf16`]
    /// computes the same from that file. Complete once everything is loaded.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be written.
    pub(crate) fn write_bf16(&self, file: &Path) -> Result<()> {
        match &*self.shared.source.borrow() {
            Source::Files { tensors, .. } => write_bf16(tensors, &self.shared.in_f32.borrow(), file),
            _ => Ok(()),
        }
    }

    /// Reports the problems of loading.
    ///
    /// # Errors
    /// [`Error::Tensors`] with every missing, misshapen or unused tensor.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut problems = self.shared.problems.borrow().clone();
        if let Source::Files { family, tensors, names, .. } = &*self.shared.source.borrow() {
            let used = self.shared.used.borrow();
            let ignored = self.shared.ignored.borrow();
            for name in names.difference(&used) {
                let key = family.engine_name(name);
                let known = family.unused_prefixes().iter().any(|p| key.starts_with(p))
                    || ignored.iter().any(|p| key.starts_with(p.as_str()))
                    || family.computed_suffixes().iter().any(|s| key.ends_with(s));
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

/// Maps safetensors files and reads their headers.
fn map(files: &[PathBuf]) -> candle_core::Result<MmapedSafetensors> {
    #[expect(unsafe_code, reason = "a memory map: the files must not change while they are loaded")]
    unsafe {
        MmapedSafetensors::multi(files)
    }
}

/// Uniform random numbers in `offset ± scale` (xorshift64).
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

/// The safetensors files of a model folder.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    let wrong = |what: String| Error::Model { path: index.clone(), what };
    if !index.is_file() {
        return Err(Error::Model {
            path: folder.to_owned(),
            what: "contains neither model.safetensors nor model.safetensors.index.json".into(),
        });
    }
    let text = std::fs::read_to_string(&index).map_err(|e| wrong(e.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| wrong("has no weight_map".into()))?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    let mut files = Vec::new();
    for name in names {
        // A shard is a file next to the index; anything else would read outside the folder.
        if name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(wrong(format!("names a shard outside its folder: {name}")));
        }
        let path = folder.join(name);
        if !path.is_file() {
            return Err(Error::Model { path, what: "this shard is listed in the index but missing".into() });
        }
        files.push(path);
    }
    if files.is_empty() { Err(wrong("lists no shards".into())) } else { Ok(files) }
}
