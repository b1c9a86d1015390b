//! Compares one module of each kind at the real configuration, with weights and inputs by formula
//! (`fixtures/real-shapes`). This covers block boundaries, padding and long sums, which tiny shapes do not reach.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::{Arithmetic, arithmetic, channels_first, channels_last, folder, numbers, read_json};
use crate::detector::detr_decoder::DetrDecoder;
use crate::detector::detr_encoder::DetrEncoder;
use crate::detector::mask_decoder::MaskDecoder;
use crate::detector::scoring::DotProductScoring;
use crate::detector::text::{PromptFeatures, TextEncoder, shares};
use crate::fnv::Fnv;
use crate::model_files::Weights;
use crate::model_files::config::{
    DetectorConfig, DetrDecoderConfig, DetrEncoderConfig, TextConfig, TrackerConfig, VideoConfig,
};
use crate::position::sine_2d;
use crate::trace::record;
use crate::tracker::parts::memory_attention::{MemoryAttention, MemoryBatch};
use crate::tracker::parts::memory_encoder::MemoryEncoder;
use crate::tracker::parts::sam_head::SamHead;
use crate::tracker::per_object::image_wide_positions;
use crate::vision::neck::{FpnLayer, Pyramid};
use crate::vision::vit;

/// Side of the grid of patches.
const GRID: usize = 72;
/// Number of channels after the ViT.
const WIDTH: usize = 256;
/// Number of prompt tokens that are not padding.
const N_WORDS: usize = 7;

/// A parameter or input by formula.
#[derive(Debug, Clone, Deserialize)]
struct Formula {
    name: String,
    shape: Vec<usize>,
    scale: f32,
    offset: f32,
}

#[derive(Debug, Deserialize)]
struct Output {
    shape: Vec<usize>,
    stride: usize,
}

#[derive(Debug, Deserialize)]
struct Facts {
    module: String,
    parameters: BTreeMap<String, Formula>,
    inputs: BTreeMap<String, Formula>,
    constants: BTreeMap<String, Vec<u32>>,
    outputs: BTreeMap<String, Output>,
}

impl Formula {
    /// SplitMix64 of the element's index, seeded by the name (see `fixtures/README.md`).
    fn values(&self) -> Vec<f32> {
        let seed = Fnv::default().add(self.name.as_bytes()).value();
        let value = |i: u64| {
            let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let z = z ^ (z >> 31);
            self.scale * ((z >> 40) as f32 / 8_388_608.0 - 1.0) + self.offset
        };
        (0..self.shape.iter().product::<usize>() as u64).map(value).collect()
    }

    fn tensor(&self) -> Tensor {
        let Arithmetic { precision, device, .. } = arithmetic();
        let wide = Tensor::from_vec(self.values(), self.shape.as_slice(), &device).unwrap();
        wide.to_dtype(precision.activations()).unwrap()
    }
}

/// A module with its inputs and the reference's outputs.
struct Case {
    name: String,
    facts: Facts,
    reference: HashMap<String, Tensor>,
    used: Rc<RefCell<BTreeSet<String>>>,
}

impl Case {
    fn open(name: &str) -> Self {
        let folder = folder("real-shapes");
        let facts = read_json(&folder.join("reference.json"))[name].clone();
        Self {
            name: name.to_owned(),
            facts: serde_json::from_value(facts).unwrap(),
            reference: candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu)
                .unwrap(),
            used: Rc::default(),
        }
    }

    /// The root of the parameters. Parameters outside the case's module are zero.
    fn root(&self) -> Weights {
        let (module, used) = (self.facts.module.clone(), self.used.clone());
        let parameters = self.facts.parameters.clone();
        let Arithmetic { precision, device, .. } = arithmetic();
        Weights::from_fn(precision, &device, move |key, shape| {
            let Some(name) = key.strip_prefix(&module) else {
                return Some(vec![0.0; shape.iter().product()]);
            };
            let name = name.trim_start_matches('.');
            let formula = parameters.get(name).filter(|f| f.shape == shape)?;
            used.borrow_mut().insert(name.to_owned());
            Some(formula.values())
        })
    }

    /// Builds the case's module.
    fn build<T>(&self, new: impl FnOnce(&Weights) -> crate::Result<T>) -> T {
        let root = self.root();
        let module = new(&root.pp(&self.facts.module)).unwrap();
        root.finish().unwrap();
        module
    }

    fn input(&self, name: &str) -> Tensor {
        self.facts.inputs[name].tensor()
    }

    /// An input `[n, c, h, w]` as `[n, h, w, c]`.
    fn image(&self, name: &str) -> Tensor {
        channels_last(&self.input(name))
    }

    /// An input `[1, c, h, w]` as `[1, h·w, c]`.
    fn flat_image(&self, name: &str) -> Tensor {
        self.image(name).flatten(1, 2).unwrap()
    }

    fn prompt(&self) -> PromptFeatures {
        let tokens = self.input("text_features");
        let is_word: Vec<bool> = (0..tokens.dim(1).unwrap()).map(|i| i < N_WORDS).collect();
        let mask: Vec<f32> = is_word.iter().map(|&w| if w { 0.0 } else { f32::NEG_INFINITY }).collect();
        let mask = Tensor::from_vec(mask, (1, 1, 1, is_word.len()), tokens.device()).unwrap();
        let shares = shares(&is_word, tokens.device()).unwrap();
        PromptFeatures { tokens, mask, shares }
    }

    /// Compares an output, in the reference's layout: the samples, and mean, L2 norm and largest magnitude of the
    /// complete output.
    fn check(&self, output: &str, got: &Tensor) {
        let facts = &self.facts.outputs[output];
        let key = |what: &str| format!("{}.{output}.{what}", self.name);
        let got = numbers(got);
        assert_eq!(got.len(), facts.shape.iter().product::<usize>(), "{}", key("shape"));
        let moments = self.reference[&key("moments")].to_vec1::<f64>().unwrap();
        let [mean, norm, largest] = moments[..] else { panic!("{moments:?}") };
        let sum = |f: fn(f64) -> f64| got.iter().map(|&x| f(f64::from(x))).sum::<f64>();
        let got_mean = sum(|x| x) / got.len() as f64;
        let got_largest = got.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = largest.max(1.0);
        let sample: Vec<f32> = got.iter().copied().step_by(facts.stride).collect();
        let want = numbers(&self.reference[&key("sample")]);
        assert_eq!(sample.len(), want.len());
        let worst = sample.iter().zip(&want).map(|(g, w)| f64::from((g - w).abs())).fold(0.0, f64::max);
        let off = [
            worst / scale,
            (got_mean - mean).abs() / scale,
            (sum(|x| x * x).sqrt() - norm).abs() / norm.max(1.0),
            (f64::from(got_largest) - largest).abs() / scale,
        ];
        println!("{} {off:?}", key(""));
        let tolerance = f64::from(arithmetic().tolerance);
        assert!(
            off.iter().all(|&x| x <= tolerance),
            "{}: sample, mean, norm, largest off by {off:?}",
            key("")
        );
    }

    /// Checks that every parameter was used, except those with a prefix in `unused`, which the reference has but never
    /// uses.
    fn check_parameters(&self, unused: &[&str]) {
        let used = self.used.borrow();
        for name in self.facts.parameters.keys() {
            let is_unused = unused.iter().any(|prefix| name.starts_with(prefix));
            assert_eq!(used.contains(name), !is_unused, "{}: {name}", self.name);
        }
    }
}

fn tracker_config() -> TrackerConfig {
    TrackerConfig { memory_attention_num_layers: 1, ..TrackerConfig::default() }
}

fn positions() -> Tensor {
    let Arithmetic { precision, device, .. } = arithmetic();
    sine_2d(GRID, WIDTH, &device).unwrap().to_dtype(precision.activations()).unwrap()
}

#[test]
fn formula_equals_the_one_of_the_fixtures() {
    let case = Case::open("vit_window");
    let start: Vec<f32> = case.facts.inputs["hidden_states"].values()[..4].to_vec();
    assert_eq!(start, [0.141_135_93, 0.928_707_7, -0.168_658_5, 0.337_434_05]);
}

#[test]
fn every_case_is_tested() {
    let cases = read_json(&folder("real-shapes").join("reference.json"));
    let cases: BTreeSet<&str> = cases.as_object().unwrap().keys().map(String::as_str).collect();
    let tested = [
        "vit_embeddings",
        "vit_window",
        "vit_global",
        "neck_0",
        "neck_1",
        "neck_2",
        "text",
        "detr_encoder",
        "detr_decoder",
        "dot_product_scoring",
        "mask_decoder",
        "memory_attention",
        "sam_mask_decoder",
        "memory_encoder",
        "image_positions",
    ];
    assert_eq!(cases, BTreeSet::from(tested));
}

#[test]
fn vit_embeddings() {
    let case = Case::open("vit_embeddings");
    let config = VideoConfig::default().detector_config.vision_config.backbone_config;
    let embeddings = case.build(|w| vit::Embeddings::new(&config, w));
    case.check("embeddings", &embeddings.forward(&case.image("pixel_values")).unwrap());
    case.check_parameters(&[]);
}

fn vit_layer(name: &str, global: bool) {
    let case = Case::open(name);
    let config = VideoConfig::default().detector_config.vision_config.backbone_config;
    let layer = case.build(|w| vit::Layer::new(&config, global, w));
    case.check("hidden_states", &layer.forward(&case.input("hidden_states")).unwrap());
    case.check_parameters(&[]);
}

#[test]
fn vit_window() {
    vit_layer("vit_window", false);
}

#[test]
fn vit_global() {
    vit_layer("vit_global", true);
}

#[test]
fn necks() {
    let config = VideoConfig::default().detector_config.vision_config;
    for (level, name) in ["neck_0", "neck_1", "neck_2"].into_iter().enumerate() {
        let case = Case::open(name);
        let layer = case.build(|w| FpnLayer::new(&config, 2 - level, w));
        let features = layer.forward(&case.image("hidden_states")).unwrap();
        case.check("features", &channels_first(&features));
        case.check_parameters(&[]);
    }
}

#[test]
fn text() {
    let case = Case::open("text");
    let text_config = TextConfig { vocab_size: 64, num_hidden_layers: 1, ..TextConfig::default() };
    let config = DetectorConfig { text_config, ..DetectorConfig::default() };
    let root = case.root();
    let encoder = TextEncoder::new(&config, &root.pp("detector_model")).unwrap();
    root.finish().unwrap();
    let is_word: Vec<bool> = case.facts.constants["attention_mask"].iter().map(|&m| m == 1).collect();
    let (_, recorded) = record(|| encoder.forward(&case.facts.constants["input_ids"], &is_word).unwrap());
    case.check("last_hidden_state", &recorded["text.normed"][0]);
    case.check_parameters(&[]);
}

#[test]
fn detr_encoder() {
    let case = Case::open("detr_encoder");
    let config = DetrEncoderConfig { num_layers: 1, ..DetrEncoderConfig::default() };
    let encoder = case.build(|w| DetrEncoder::new(&config, w));
    let features = case.flat_image("vision_features");
    case.check("hidden_states", &encoder.forward(&features, &positions(), &case.prompt()).unwrap());
    case.check_parameters(&[]);
}

#[test]
fn detr_decoder() {
    let case = Case::open("detr_decoder");
    let config = DetrDecoderConfig { num_layers: 2, ..DetrDecoderConfig::default() };
    let decoder = case.build(|w| DetrDecoder::new(&config, w));
    let image = case.input("vision_features");
    let (_, recorded) = record(|| decoder.forward(&image, &positions(), GRID, &case.prompt()).unwrap());
    let layers = &recorded["detr_decoder.layer"];
    let decoded: Vec<_> = layers.iter().map(|x| decoder.decode(x).unwrap()).collect();
    let queries: Vec<&Tensor> = decoded.iter().map(|d| &d.queries).collect();
    case.check("hidden_states", &Tensor::cat(&queries, 0).unwrap());
    let presence: Vec<&Tensor> = decoded.iter().map(|d| &d.presence_logit).collect();
    case.check("presence_logits", &Tensor::cat(&presence, 0).unwrap());
    let first = decoder.first_boxes().unwrap();
    let second = decoder.refine(&first, &layers[0]).unwrap();
    case.check("reference_boxes", &Tensor::cat(&[first, second], 0).unwrap());
    case.check_parameters(&[]);
}

#[test]
fn dot_product_scoring() {
    let case = Case::open("dot_product_scoring");
    let scoring = case.build(|w| DotProductScoring::new(&DetectorConfig::default(), w));
    let queries = case.input("hidden_states").squeeze(0).unwrap();
    let logits = scoring.forward(&queries, &case.prompt()).unwrap();
    case.check("logits", &logits);
    case.check_parameters(&[]);
}

#[test]
fn mask_decoder() {
    let case = Case::open("mask_decoder");
    let config = DetectorConfig::default().mask_decoder_config;
    let decoder = case.build(|w| MaskDecoder::new(&config, w));
    let pyramid = Pyramid(["features_288", "features_144", "features_72"].map(|name| case.image(name)));
    let encoded = case.input("encoder_hidden_states");
    let pixels = decoder.embed_pixels(&encoded, &pyramid, &case.prompt()).unwrap();
    let queries = case.input("queries").squeeze(0).unwrap();
    case.check("pred_masks", &decoder.masks(&queries, &pixels).unwrap());
    let unused = ["pixel_decoder.conv_layers.2", "pixel_decoder.norms.2", "semantic_projection"];
    case.check_parameters(&unused);
}

#[test]
fn memory_attention() {
    let case = Case::open("memory_attention");
    let attention = case.build(|w| MemoryAttention::new(&tracker_config(), w));
    let features = case.input("features").transpose(0, 1).unwrap().contiguous().unwrap();
    let memory = case.input("memory").squeeze(1).unwrap();
    let keys = (&memory + case.input("memory_positions").squeeze(1).unwrap()).unwrap();
    let n_rotated = memory.dim(0).unwrap() / (GRID * GRID) * (GRID * GRID);
    let key_lens = vec![memory.dim(0).unwrap()];
    let batch = MemoryBatch { values: memory, keys, key_lens, n_rotated: vec![n_rotated] };
    case.check("features", &attention.forward(&features, &positions(), &batch).unwrap());
    case.check_parameters(&[]);
}

#[test]
fn sam_mask_decoder() {
    let case = Case::open("sam_mask_decoder");
    let head = case.build(|w| SamHead::new(&TrackerConfig::default().mask_decoder_config, w));
    let images = (case.flat_image("image_embeddings") + case.flat_image("dense")).unwrap();
    let positions = case.flat_image("image_positions").squeeze(0).unwrap();
    let sparse = case.input("sparse").squeeze(0).unwrap().squeeze(0).unwrap();
    let tokens = head.read(&images, &positions, &sparse).unwrap();
    let (s0, s1) = (case.image("features_288"), case.image("features_144"));
    let [masks, iou, chosen] = head.several(&tokens, &s0, &s1).unwrap();
    case.check("masks", &masks);
    case.check("iou", &iou);
    case.check("tokens", &chosen);
    case.check("object_score", &tokens.object_score);
    case.check_parameters(&[]);
}

#[test]
fn memory_encoder() {
    let case = Case::open("memory_encoder");
    let config = TrackerConfig::default();
    let encoder = case.build(|w| MemoryEncoder::new(&config, w));
    let masks = case.input("masks").squeeze(1).unwrap();
    let memory = encoder.forward(&case.image("features"), &masks).unwrap();
    case.check("memory", &channels_first(&memory));
    let positions = sine_2d(GRID, config.memory_encoder_output_channels, &Device::Cpu).unwrap();
    case.check("positions", &positions.t().unwrap());
    case.check_parameters(&[]);
}

#[test]
fn image_positions() {
    let case = Case::open("image_positions");
    let frequencies =
        case.build(|w| w.get_f32((2, WIDTH / 2), "shared_image_embedding.positional_embedding"));
    case.check("positions", &image_wide_positions(GRID, &frequencies).unwrap().t().unwrap());
    case.check_parameters(&[]);
}
