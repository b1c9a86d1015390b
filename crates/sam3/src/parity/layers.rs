//! Compares every module output in `layers.safetensors` of the tiny models, from a streaming run over three frames with
//! the first prompt.
//!
//! Memories are rounded to bf16. A different last bit changes memory attention by up to 6e-5 relative; all other
//! outputs agree within 4e-6.

use candle_core::{Device, Tensor};

use super::{
    CHECKPOINTS, Checkpoint, RELATIVE_TOLERANCE, channels_first, folder, numbers, relative_difference,
};
use crate::detector::detr_decoder::Decoded;
use crate::detector::text::PromptFeatures;
use crate::options::{Compat, Mode, SessionOptions};
use crate::position::sine_2d;
use crate::session::{Frame, Session};
use crate::trace::{Recorded, record};

/// Number of frames of the stored run.
const N_FRAMES: usize = 3;
/// Names under which the levels of a feature pyramid are recorded.
const LEVELS: [&str; 3] = ["neck.0", "neck.1", "neck.2"];

/// The outputs of the engine's modules in the same run.
struct Run {
    checkpoint: Checkpoint,
    prompt: PromptFeatures,
    /// Recorded outputs of each frame. Those of the text encoder are with the first frame.
    recorded: Vec<Recorded>,
}

/// Outputs of the decoder's heads after every layer. The reference computes all of them, a session only those it needs.
struct DecoderHeads {
    decoded: Vec<Decoded>,
    /// Boxes (cx, cy, w, h) before each layer, and after the last.
    boxes: Vec<Tensor>,
    /// Recorded outputs of the heads.
    recorded: Recorded,
}

impl Run {
    fn new(name: &str) -> Self {
        let checkpoint = Checkpoint::open(name);
        let options = SessionOptions {
            compat: Compat::Reference,
            ..SessionOptions::new(Mode::Streaming, checkpoint.frame_size())
        };
        let first_prompt = checkpoint.prompts[0].clone();
        let model = checkpoint.model.clone();
        let start = || Session::new(model.clone(), &[&first_prompt], options).unwrap();
        let (mut session, prompt_recorded) = record(start);
        let mut recorded: Vec<Recorded> = (0..N_FRAMES)
            .map(|t| {
                let pixel_values = checkpoint.pixel_values(t);
                record(|| session.push(Frame::PixelValues(&pixel_values)).unwrap()).1
            })
            .collect();
        recorded[0].extend(prompt_recorded);
        let tokens = model.tokenizer.encode(&first_prompt).unwrap();
        let prompt = model.detector.text_encoder.forward(&tokens.ids, &tokens.is_word).unwrap();
        Self { checkpoint, prompt, recorded }
    }

    fn noted(&self, frame: usize, name: &str) -> &[Tensor] {
        &self.recorded[frame][name]
    }

    /// The first object's row of the first value recorded under a name on a frame.
    fn first_object(&self, frame: usize, name: &str) -> Tensor {
        self.noted(frame, name)[0].narrow(0, 0, 1).unwrap().contiguous().unwrap()
    }

    fn decoder_heads(&self) -> DecoderHeads {
        let decoder = &self.checkpoint.model.detector.detr_decoder;
        let run = || {
            let mut boxes = vec![decoder.first_boxes().unwrap()];
            let mut decoded = Vec::new();
            for x in self.noted(0, "detr_decoder.layer") {
                decoded.push(decoder.decode(x).unwrap());
                boxes.push(decoder.refine(boxes.last().unwrap(), x).unwrap());
            }
            (decoded, boxes)
        };
        let ((decoded, boxes), recorded) = record(run);
        DecoderHeads { decoded, boxes, recorded }
    }

    /// The mask decoder's output for all queries; a session computes only the confident ones.
    fn all_masks(&self) -> (Tensor, Recorded) {
        let heads = self.decoder_heads();
        let queries = heads.decoded.last().unwrap().queries.squeeze(0).unwrap();
        let pixels = &self.noted(0, "pixel_decoder")[0];
        record(|| self.checkpoint.model.detector.mask_decoder.masks(&queries, pixels).unwrap())
    }

    fn scores(&self) -> Vec<Vec<f32>> {
        let scoring = &self.checkpoint.model.detector.dot_product_scoring;
        let score = |d: &Decoded| numbers(&scoring.forward(&d.queries, &self.prompt).unwrap());
        self.decoder_heads().decoded.iter().map(score).collect()
    }

    /// Masks, IoUs and tokens of the multimask output, and the object score, for the first object of a frame.
    fn sam_head(&self, frame: usize) -> [Tensor; 4] {
        let tracker = self.checkpoint.model.tracker.per_object();
        let head = &tracker.sam_head;
        let pictures = self.first_object(frame, "sam_head.images");
        let no_points = &tracker.prompt_encoder.no_points;
        let tokens = head.read(&pictures, &tracker.head_positions, no_points).unwrap();
        let (s0, s1) = (&self.noted(frame, "conv_s0")[0], &self.noted(frame, "conv_s1")[0]);
        let [masks, iou, chosen] = head.several(&tokens, s0, s1).unwrap();
        [masks, iou, chosen, tokens.object_score]
    }
}

fn vector(data: &[f32]) -> Tensor {
    Tensor::new(data, &Device::Cpu).unwrap()
}

fn box_rows(boxes: &[Tensor]) -> Tensor {
    Tensor::cat(boxes, 0).unwrap()
}

/// The engine's value of field `part` of module `path` on a frame, in the reference's layout; `None` for a module
/// without counterpart.
fn ours(run: &Run, path: &str, part: &str, frame: usize) -> Option<Tensor> {
    if let Some(rest) = path.strip_prefix("detector_model") {
        return detector(run, rest.trim_start_matches('.'), part);
    }
    if let Some(level) = path.strip_prefix("tracker_neck.fpn_layers.") {
        let level: usize = level.parse().unwrap();
        return Some(channels_first(&run.noted(frame, LEVELS[level]).last()?.clone()));
    }
    tracker(run, path.strip_prefix("tracker_model.")?, part, frame)
}

/// `layers.3` → `layers` and 3.
fn numbered(path: &str) -> (&str, usize) {
    let split = path.rsplit_once('.').and_then(|(stem, i)| Some((stem, i.parse().ok()?)));
    split.unwrap_or((path, 0))
}

fn detector(run: &Run, path: &str, part: &str) -> Option<Tensor> {
    let (stem, i) = numbered(path);
    let noted = |name: &str, i: usize| run.noted(0, name).get(i).cloned();
    match (stem, part) {
        ("vision_encoder.backbone.embeddings", "") => noted("vit.embeddings", 0),
        ("vision_encoder.backbone.layers", "") => noted("vit.layer", i),
        ("vision_encoder.backbone", "") => run.noted(0, "vit.layer").last().cloned(),
        ("vision_encoder.neck.fpn_layers", "") => Some(channels_first(&noted(LEVELS[i], 0)?)),
        ("text_encoder.text_model", "") => noted("text.normed", 0),
        ("text_projection", "") => noted("text.tokens", 0),
        ("detr_encoder.layers", "") => noted("detr_encoder.layer", i),
        ("detr_decoder.layers", "") => noted("detr_decoder.layer", i),
        ("detr_decoder.ref_point_head", "") => noted("ref_point_head", 0),
        ("detr_decoder.box_rpb_embed_x", "") => noted("box_rpb_embed_x", 0),
        ("detr_decoder.box_rpb_embed_y", "") => noted("box_rpb_embed_y", 0),
        ("mask_decoder.prompt_cross_attn", "") => noted("mask_decoder.prompt_cross_attn", 0),
        ("mask_decoder.pixel_decoder", "") => {
            Some(channels_first(&noted("pixel_decoder", 0)?.unsqueeze(0).unwrap()))
        }
        _ => detector_heads(run, path, part),
    }
}

fn detector_heads(run: &Run, path: &str, part: &str) -> Option<Tensor> {
    let heads = run.decoder_heads();
    let n_layers = heads.decoded.len();
    let presence: Vec<f32> = heads.decoded.iter().flat_map(|d| numbers(&d.presence_logit)).collect();
    match (path, part) {
        ("detr_decoder.box_head", "") => Some(heads.recorded["box_head"][0].clone()),
        ("detr_decoder.presence_head", "") => Some(heads.recorded["presence_head"][0].clone()),
        ("detr_decoder", "") => {
            let queries: Vec<&Tensor> = heads.decoded.iter().map(|d| &d.queries).collect();
            Some(Tensor::cat(&queries, 0).unwrap())
        }
        ("detr_decoder", "reference_boxes") | ("", "decoder_reference_boxes") => {
            Some(box_rows(&heads.boxes[..n_layers]))
        }
        ("detr_decoder", "presence_logits") => Some(vector(&presence)),
        ("", "presence_logits") => Some(vector(&presence[n_layers - 1..])),
        ("dot_product_scoring", "") => Some(vector(&run.scores().concat())),
        ("", "pred_logits") => Some(vector(run.scores().last()?)),
        ("", "pred_boxes") => {
            let corners =
                |b: &[f32]| [b[0] - 0.5 * b[2], b[1] - 0.5 * b[3], b[0] + 0.5 * b[2], b[1] + 0.5 * b[3]];
            Some(vector(&numbers(&heads.boxes[n_layers]).chunks(4).flat_map(corners).collect::<Vec<_>>()))
        }
        ("mask_decoder.instance_projection", "") => {
            Some(channels_first(&run.all_masks().1["instance_projection"][0].unsqueeze(0).unwrap()))
        }
        ("mask_decoder.mask_embedder", "") => Some(run.all_masks().1["mask_embedder"][0].clone()),
        ("mask_decoder" | "", "") => Some(run.all_masks().0),
        _ => None,
    }
}

fn tracker(run: &Run, path: &str, part: &str, frame: usize) -> Option<Tensor> {
    let (stem, i) = numbered(path);
    let noted = |name: &str| run.noted(frame, name)[0].clone();
    let first = |name: &str| run.first_object(frame, name);
    match (stem, part) {
        ("mask_decoder.conv_s0", "") => Some(channels_first(&noted("conv_s0"))),
        ("mask_decoder.conv_s1", "") => Some(channels_first(&noted("conv_s1"))),
        ("mask_downsample", "") => Some(first("mask_downsample")),
        // [1, g·g, c] → [1, c, g·g]
        ("prompt_encoder.mask_embed", "") => Some(first("mask_embed").t().unwrap().contiguous().unwrap()),
        ("memory_attention.layers", "") => {
            let layer = &run.noted(frame, "memory_attention.layer")[i];
            Some(layer.narrow(0, 0, 1).unwrap())
        }
        ("memory_attention", "") => Some(first("memory_attention")),
        ("temporal_positional_encoding_projection_layer", "") => {
            // Rows are ordered by age. The reference starts with the conditioning frame, which is the oldest.
            let ages = noted("temporal_projection");
            let rest = ages.dim(0).unwrap() - 1;
            let (oldest, rest) = (ages.narrow(0, rest, 1).unwrap(), ages.narrow(0, 0, rest).unwrap());
            Some(Tensor::cat(&[oldest, rest], 0).unwrap())
        }
        ("mask_decoder.transformer", "") => Some(first("sam_head.tokens")),
        ("mask_decoder.transformer", "1") => Some(first("sam_head.image")),
        ("mask_decoder", field) => {
            let field = if field.is_empty() { 0 } else { field.parse().unwrap() };
            run.sam_head(frame).into_iter().nth(field)
        }
        ("object_pointer_proj", "") => Some(first("object_pointer_proj")),
        ("memory_encoder.mask_downsampler", "") => Some(channels_first(&noted("mask_downsampler"))),
        ("memory_encoder.memory_fuser", "") => Some(channels_first(&noted("memory_fuser"))),
        ("memory_encoder", "") => Some(channels_first(&noted("memory_encoder"))),
        ("memory_encoder", "1") => {
            let (n, grid, _, channels) = noted("memory_encoder").dims4().unwrap();
            let positions = sine_2d(grid, channels, &Device::Cpu).unwrap();
            let positions = positions.t().unwrap().unsqueeze(0).unwrap();
            Some(positions.repeat((n, 1, 1)).unwrap())
        }
        _ => None,
    }
}

/// `module.path#call.part` → path and part.
fn split_key(key: &str) -> (&str, &str) {
    let (path, call) = key.split_once('#').unwrap();
    (path, call.split_once('.').map_or("", |(_, part)| part))
}

#[test]
fn every_stored_module_output_is_reproduced() {
    for name in CHECKPOINTS {
        let run = Run::new(name);
        let stored = folder(name).join("layers.safetensors");
        let stored = candle_core::safetensors::load(stored, &Device::Cpu).unwrap();
        let facts = run.checkpoint.reference["layers"].as_object().unwrap();
        // Every stored output is compared: a key without facts or without a counterpart fails.
        let outputs = stored.keys().filter(|k| k.contains('#'));
        assert!(outputs.clone().all(|key| facts.contains_key(key)), "{name}: an output without facts");
        assert_eq!(outputs.count(), facts.len(), "{name}");
        let mut failures = Vec::new();
        for (key, facts) in facts {
            let number = |key: &str| facts[key].as_u64().unwrap() as usize;
            let (path, part) = split_key(key);
            let got = ours(&run, path, part, number("frame"))
                .unwrap_or_else(|| panic!("{name} {key}: no counterpart"));
            let shape: Vec<usize> = serde_json::from_value(facts["shape"].clone()).unwrap();
            assert_eq!(got.elem_count(), shape.iter().product::<usize>(), "{name} {key}: {:?}", got.shape());
            let got: Vec<f32> = numbers(&got).into_iter().step_by(number("stride")).collect();
            let off = relative_difference(&got, &numbers(&stored[key]));
            println!("{off:.1e} {name} {key}");
            if off > RELATIVE_TOLERANCE {
                failures.push(format!("{key}: {off:.1e}"));
            }
        }
        assert!(failures.is_empty(), "{name}, beyond {RELATIVE_TOLERANCE:.0e}:\n{}", failures.join("\n"));
    }
}
