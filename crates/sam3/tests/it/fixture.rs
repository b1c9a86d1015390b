//! Tiny models with reference outputs, created by `scripts/reference/make_fixture.py`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sam3::{Compat, Device, Frame, FrameOutput, Mode, Model, Precision, Session, SessionOptions, Tensor};
use serde::Deserialize;

/// The fixtures, which differ in grid, widths, heads, layers, prompts and frame size.
pub(crate) const NAMES: [&str; 2] = ["wide", "narrow"];

pub(crate) struct Fixture {
    pub name: String,
    pub folder: PathBuf,
    pub tensors: HashMap<String, Tensor>,
    pub prompts: Vec<String>,
    pub frames: BTreeMap<String, FrameFacts>,
}

/// The reference's outputs for a frame that are not tensors.
#[derive(Debug, Deserialize)]
pub(crate) struct FrameFacts {
    /// Ids removed so far.
    pub removed: BTreeSet<u64>,
    /// Ids hidden on this frame.
    pub suppressed: BTreeSet<u64>,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The types and devices that parity is tested with: f32 and bfloat16 on the CPU, and on the device in
/// `COURTSIDE_TEST_DEVICE` if set, with the fused kernels if `COURTSIDE_TEST_KERNELS` is `fused`.
pub(crate) fn arithmetics() -> Vec<(Precision, Device)> {
    let mut all = vec![(Precision::F32, Device::Cpu), (Precision::Bf16, Device::Cpu)];
    if let Ok(name) = std::env::var("COURTSIDE_TEST_DEVICE") {
        let device = sam3::device::open(name.parse().unwrap()).unwrap();
        if std::env::var("COURTSIDE_TEST_KERNELS").is_ok_and(|kernels| kernels == "fused") {
            sam3::device::use_kernels(sam3::device::Kernels::Fused, &device).unwrap();
        }
        all.push((Precision::F32, device.clone()));
        all.push((Precision::Bf16, device));
    }
    all
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        let folder = root().join(name);
        let tensors =
            candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu).unwrap();
        let text = std::fs::read_to_string(folder.join("reference.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let prompts = serde_json::from_value(json["prompts"].clone()).unwrap();
        let frames = json
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.rsplit_once('.').is_some_and(|(_, t)| t.parse::<usize>().is_ok()));
        let frames = frames.map(|(k, v)| (k.clone(), serde_json::from_value(v.clone()).unwrap())).collect();
        Self { name: name.to_owned(), folder, tensors, prompts, frames }
    }

    pub(crate) fn model(&self, precision: Precision) -> Arc<Model> {
        self.model_on(precision, &Device::Cpu)
    }

    pub(crate) fn model_on(&self, precision: Precision, device: &Device) -> Arc<Model> {
        Arc::new(Model::load(&self.folder, precision, device).unwrap())
    }

    pub(crate) fn n_frames(&self) -> usize {
        self.tensors["video"].dim(0).unwrap()
    }

    /// Height and width of the source frames.
    pub(crate) fn frame_size(&self) -> (usize, usize) {
        let (_, h, w, _) = self.tensors["video"].dims4().unwrap();
        (h, w)
    }

    /// Source frame `t` as RGB bytes.
    pub(crate) fn rgb(&self, t: usize) -> Vec<u8> {
        self.tensors["video"].get(t).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Frame `t` as resized by the reference, `[3, size, size]` bytes.
    pub(crate) fn resized(&self, t: usize) -> Tensor {
        self.tensors["resized"].get(t).unwrap()
    }

    /// Pixel values of frame `t` in the reference, `[1, size, size, 3]`.
    pub(crate) fn pixel_values(&self, t: usize) -> Tensor {
        let resized = self.resized(t).to_dtype(candle_core::DType::F32).unwrap();
        let normed = ((resized - 127.5).unwrap() / 127.5).unwrap();
        normed.permute((1, 2, 0)).unwrap().contiguous().unwrap().unsqueeze(0).unwrap()
    }

    pub(crate) fn prompts(&self) -> Vec<&str> {
        self.prompts.iter().map(String::as_str).collect()
    }

    pub(crate) fn options(&self, mode: Mode, compat: Compat) -> SessionOptions {
        SessionOptions { compat, ..SessionOptions::new(mode, self.frame_size()) }
    }

    pub(crate) fn offline(&self) -> Mode {
        Mode::Offline { n_frames: self.n_frames() }
    }

    /// Runs a session over the reference's pixel values, and returns all outputs.
    pub(crate) fn run(&self, model: &Arc<Model>, options: SessionOptions) -> Vec<FrameOutput> {
        let mut session = Session::new(model.clone(), &self.prompts(), options).unwrap();
        let mut outputs = Vec::new();
        for t in 0..self.n_frames() {
            outputs.extend(session.push(Frame::PixelValues(&self.pixel_values(t))).unwrap());
        }
        outputs.extend(session.finish());
        outputs
    }
}
