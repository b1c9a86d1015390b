//! The model configurations that `--config` accepts.

use std::path::Path;

use sam3::VideoConfig;

use client::failure::Outcome;
use worker::failure::EngineResult;

/// The configuration `real`, `tiny`, or that of a `config.json` file.
pub(super) fn read(name: &str) -> Outcome<VideoConfig> {
    match name {
        "real" => Ok(VideoConfig::default()),
        "tiny" => Ok(tiny()),
        path => VideoConfig::from_file(Path::new(path)).or_failure(),
    }
}

/// The real configuration with few layers, and images of an eighth of the side length.
fn tiny() -> VideoConfig {
    let mut config = VideoConfig::default();
    let grid = 8;
    let detector = &mut config.detector_config;
    let vit = &mut detector.vision_config.backbone_config;
    (vit.hidden_size, vit.intermediate_size, vit.num_hidden_layers, vit.num_attention_heads) =
        (96, 192, 4, 4);
    (vit.image_size, vit.window_size, vit.global_attn_indexes) = (grid * vit.patch_size, 4, vec![1, 3]);
    vit.pretrain_image_size = 4 * vit.patch_size;
    detector.vision_config.backbone_feature_sizes = [4, 2, 1].map(|s| [s * grid; 2]).to_vec();
    let text = &mut detector.text_config;
    (text.hidden_size, text.intermediate_size, text.num_hidden_layers, text.num_attention_heads) =
        (64, 128, 2, 4);
    detector.detr_encoder_config.num_layers = 2;
    detector.detr_decoder_config.num_layers = 2;
    let tracker = &mut config.tracker_config;
    tracker.vision_config = detector.vision_config.clone();
    tracker.prompt_encoder_config.image_size = detector.vision_config.backbone_config.image_size;
    tracker.memory_attention_rope_feat_sizes = Some([grid; 2]);
    tracker.memory_attention_num_layers = 2;
    config.low_res_mask_size = 4 * grid;
    config
}
