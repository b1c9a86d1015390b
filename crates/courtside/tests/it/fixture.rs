//! The parity fixtures in `fixtures/`: tiny models, and their reference clips as lossless videos.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::sandbox::Sandbox;

/// A tiny model with its reference outputs.
pub(crate) struct Fixture {
    pub(crate) name: &'static str,
    bytes: Vec<u8>,
}

/// The fixture with a landscape clip: 14 frames, prompts "ball" and "box".
pub(crate) fn wide() -> Fixture {
    Fixture::open("wide")
}

/// The fixture with a portrait clip: 18 frames, three prompts, two shards.
pub(crate) fn narrow() -> Fixture {
    Fixture::open("narrow")
}

impl Fixture {
    fn open(name: &'static str) -> Self {
        let bytes = std::fs::read(folder(name).join("reference.safetensors")).unwrap();
        Self { name, bytes }
    }

    /// The path of the model folder.
    pub(crate) fn model(&self) -> String {
        folder(self.name).into_os_string().into_string().unwrap()
    }

    pub(crate) fn prompts(&self) -> Vec<String> {
        let json = std::fs::read(folder(self.name).join("reference.json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        serde_json::from_value(json["prompts"].clone()).unwrap()
    }

    pub(crate) fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap()
    }

    /// Number of frames, height and width of the clip.
    pub(crate) fn clip_size(&self) -> [usize; 3] {
        self.tensors().tensor("video").unwrap().shape()[..3].try_into().unwrap()
    }

    /// Writes a lossless video of `n_frames` frames: the clip, alternately forwards and backwards.
    pub(crate) fn video(&self, sandbox: &Sandbox, n_frames: usize, name: &str) -> PathBuf {
        let [n, height, width] = self.clip_size();
        let tensors = self.tensors();
        let frames = tensors.tensor("video").unwrap().data();
        let order = (0..n).chain((1..n - 1).rev()).cycle().take(n_frames);
        let mut ffmpeg = Command::new("ffmpeg")
            .args(["-hide_banner", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "10"])
            .args(["-s", &format!("{width}x{height}"), "-i", "pipe:0", "-c:v", "libx264rgb", "-qp", "0"])
            .args(["-preset", "ultrafast"])
            .arg(sandbox.path(name))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = ffmpeg.stdin.take().unwrap();
        for t in order {
            let size = height * width * 3;
            stdin.write_all(&frames[t * size..][..size]).unwrap();
        }
        drop(stdin);
        assert!(ffmpeg.wait().unwrap().success(), "ffmpeg cannot write {name}");
        sandbox.path(name)
    }

    /// Copies the model into a folder, without the reference outputs.
    pub(crate) fn copy(&self, target: &Path) {
        std::fs::create_dir_all(target).unwrap();
        for (name, bytes) in self.files() {
            std::fs::write(target.join(name), bytes).unwrap();
        }
    }

    /// Names and contents of the model's files.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(folder(self.name)).unwrap().map(Result::unwrap);
        let names = entries.map(|e| e.file_name().into_string().unwrap());
        let is_model_file = |name: &String| {
            let json = name.ends_with(".json") && name != "reference.json";
            json || name.starts_with("model")
        };
        names
            .filter(is_model_file)
            .map(|name| (name.clone(), std::fs::read(folder(self.name).join(name)).unwrap()))
            .collect()
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").canonicalize().unwrap().join(name)
}

/// The elements of an I64 tensor.
pub(crate) fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<i64> {
    let tensor = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The elements of an F32 tensor.
pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}
