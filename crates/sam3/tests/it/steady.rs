//! The memory of a session does not grow with the number of frames.

use std::ops::Range;
use std::sync::Arc;

use sam3::{Device, Frame, Mode, Model, Precision, Session, SessionOptions, Tensor, VideoConfig};
use serde_json::{Value, json};

const N_FRAMES: usize = 2_000;
/// Allowed growth of a saved session: frame numbers and ids get a digit or two longer, and headers are padded to 8 bytes.
const LONGER_NUMBERS_BYTES: usize = 256;

/// A model with few channels, and thresholds below every output of random weights.
fn small_config() -> Value {
    let vit = json!({
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8, "window_size": 2, "global_attn_indexes": [],
        "pretrain_image_size": 16,
    });
    let vision = json!({
        "fpn_hidden_size": 32, "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "backbone_config": vit,
    });
    let text = json!({
        "vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2,
    });
    let detr = json!({
        "hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "num_queries": 3,
    });
    json!({
        "detector_config": {
            "vision_config": vision, "text_config": text, "detr_encoder_config": detr,
            "detr_decoder_config": detr,
            "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
        },
        "tracker_config": {
            "vision_config": vision,
            "prompt_encoder_config": {"hidden_size": 32, "image_size": 32, "patch_size": 8},
            "mask_decoder_config": {
                "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
            },
            "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1,
            "memory_attention_feed_forward_hidden_size": 32, "memory_attention_rope_feat_sizes": [4, 4],
            "memory_encoder_hidden_size": 32, "memory_encoder_output_channels": 16,
            "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32,
            "memory_fuser_intermediate_dim": 32, "memory_fuser_num_layers": 1,
        },
        "low_res_mask_size": 16, "det_nms_thresh": 0.0, "score_threshold_detection": -1.0,
        "new_det_thresh": -1.0, "recondition_every_nth_frame": 4, "high_conf_thresh": -1e9,
        "high_iou_thresh": -1.0,
    })
}

/// The small config with some values replaced.
fn config(changes: Value) -> VideoConfig {
    let mut config = small_config();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    serde_json::from_value(config).unwrap()
}

/// Sizes after each frame.
#[derive(Default)]
struct Measured {
    size_bytes: Vec<usize>,
    saved_bytes: Vec<usize>,
    n_tracked: Vec<usize>,
}

impl Measured {
    fn of(config: VideoConfig, options: SessionOptions) -> Self {
        let size = config.image_size();
        let model = Arc::new(Model::random(config, 7, Precision::F32, &Device::Cpu).unwrap());
        let frames: Vec<Tensor> = (0..8).map(|seed| noise(seed, size)).collect();
        let mut session = Session::new(model, &["player"], options).unwrap();
        let mut measured = Self::default();
        for t in 0..N_FRAMES {
            session.push(Frame::PixelValues(&frames[t % frames.len()])).unwrap();
            measured.size_bytes.push(session.size_bytes());
            measured.saved_bytes.push(session.to_bytes().unwrap().len());
            measured.n_tracked.push(session.n_tracked());
        }
        measured
    }

    fn assert_flat(&self) {
        let most = |list: &[usize], range: Range<usize>| list[range].iter().copied().max().unwrap();
        let (early, late) = (200..1000, 1000..N_FRAMES);
        assert!(most(&self.n_tracked, late.clone()) > 0);
        assert_eq!(most(&self.size_bytes, late.clone()), most(&self.size_bytes, early.clone()));
        let grown = most(&self.saved_bytes, late).saturating_sub(most(&self.saved_bytes, early));
        assert!(grown <= LONGER_NUMBERS_BYTES, "a saved session grew by {grown} bytes");
    }
}

/// Pixel values of a frame of noise.
fn noise(seed: u64, size: usize) -> Tensor {
    let mut state = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut value = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    let data: Vec<f32> = (0..size * size * 3).map(|_| value()).collect();
    Tensor::from_vec(data, (1, size, size, 3), &Device::Cpu).unwrap()
}

fn options(mode: Mode) -> SessionOptions {
    SessionOptions::new(mode, (24, 40))
}

#[test]
fn memory_is_constant_while_all_objects_stay() {
    // Every detection matches every object: all stay, and one is reconditioned on every fourth frame.
    let all_match = json!({"assoc_iou_thresh": 0.0, "trk_assoc_iou_thresh": 0.0});
    let measured = Measured::of(config(all_match), options(Mode::Streaming));
    measured.assert_flat();
    let n = measured.n_tracked[0];
    assert!(n > 1 && measured.n_tracked.iter().all(|&m| m == n));
}

#[test]
fn memory_is_constant_while_objects_come_and_go() {
    // No detection matches an object: new objects are added up to the limit, and all retire without confirmation.
    let none_match = json!({"assoc_iou_thresh": 2.0, "trk_assoc_iou_thresh": 2.0});
    let busy = SessionOptions { max_objects: Some(5), retire_after: Some(7), ..options(Mode::Streaming) };
    let measured = Measured::of(config(none_match), busy);
    measured.assert_flat();
    assert!(measured.n_tracked.iter().all(|&n| n <= 5));
    assert!(measured.n_tracked[10..].windows(2).any(|w| w[0] > w[1]), "no object retired");
}

#[test]
fn delayed_frames_are_bounded_in_offline_mode() {
    let all_match = json!({"assoc_iou_thresh": 0.0, "trk_assoc_iou_thresh": 0.0});
    let offline = options(Mode::Offline { n_frames: N_FRAMES + 1 });
    let measured = Measured::of(config(all_match), offline);
    measured.assert_flat();
}
