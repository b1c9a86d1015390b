//! The detector's part of `config.json` (reference: `configuration_sam3.py`).

use serde::Deserialize;

use super::shared::{RopeParameters, activation, require, require_heads};
use crate::error::Result;

/// `Sam3Config`: vision, text, DETR and mask decoder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DetectorConfig {
    /// The image encoder: a ViT and a feature pyramid.
    pub vision_config: VisionConfig,
    /// The prompt encoder, a CLIP text tower.
    pub text_config: TextConfig,
    /// The encoder that combines image and prompt.
    pub detr_encoder_config: DetrEncoderConfig,
    /// The decoder that turns queries into detections.
    pub detr_decoder_config: DetrDecoderConfig,
    /// The decoder that computes masks of queries.
    pub mask_decoder_config: MaskDecoderConfig,
}

/// `Sam3VisionConfig`: the ViT and the feature pyramid above it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// The ViT below the pyramid.
    pub backbone_config: ViTConfig,
    /// Channels of every pyramid level; also the width of detector and tracker.
    pub fpn_hidden_size: usize,
    /// Height and width of the levels in use, finest first.
    pub backbone_feature_sizes: Vec<[usize; 2]>,
    /// Scale of every level relative to the patch grid; the last level is not used.
    pub scale_factors: Vec<f64>,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            backbone_config: ViTConfig::default(),
            fpn_hidden_size: 256,
            backbone_feature_sizes: vec![[288, 288], [144, 144], [72, 72]],
            scale_factors: vec![4.0, 2.0, 1.0, 0.5],
        }
    }
}

/// `Sam3ViTConfig`: the image encoder.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ViTConfig {
    /// Width of the layers, in channels.
    pub hidden_size: usize,
    /// Width of the MLP, in channels.
    pub intermediate_size: usize,
    /// Number of layers in the encoder.
    pub num_hidden_layers: usize,
    /// Number of attention heads, which divides the width.
    pub num_attention_heads: usize,
    /// Number of colour channels; only 3 is implemented.
    pub num_channels: usize,
    /// Height and width of the input image, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Activation of the MLP: `gelu` or `relu`.
    pub hidden_act: String,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
    /// Height and width of an attention window, in patches.
    pub window_size: usize,
    /// Indices of the layers that attend to the complete image rather than to windows.
    pub global_attn_indexes: Vec<usize>,
    /// Not implemented; must be absent.
    pub layer_scale_init_value: Option<f64>,
    /// Image size that the position embeddings were trained with, in pixels.
    pub pretrain_image_size: usize,
    /// Base of the rotary position embedding.
    pub rope_parameters: RopeParameters,
}

impl Default for ViTConfig {
    fn default() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4736,
            num_hidden_layers: 32,
            num_attention_heads: 16,
            num_channels: 3,
            image_size: 1008,
            patch_size: 14,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
            window_size: 24,
            global_attn_indexes: vec![7, 15, 23, 31],
            layer_scale_init_value: None,
            pretrain_image_size: 336,
            rope_parameters: RopeParameters::default(),
        }
    }
}

impl ViTConfig {
    /// Number of patches along a side of the image.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }
}

/// `CLIPTextConfig`: the part that the prompt encoder uses.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Number of token ids in the vocabulary.
    pub vocab_size: usize,
    /// Width of the layers, in channels.
    pub hidden_size: usize,
    /// Width of the MLP, in channels.
    pub intermediate_size: usize,
    /// Number of layers in the tower.
    pub num_hidden_layers: usize,
    /// Number of attention heads, which divides the width.
    pub num_attention_heads: usize,
    /// Maximum length of a prompt, in tokens.
    pub max_position_embeddings: usize,
    /// Activation of the MLP: `gelu` or `relu`.
    pub hidden_act: String,
    /// ε of the layer norms.
    pub layer_norm_eps: f64,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            max_position_embeddings: 32,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

/// `Sam3DETREncoderConfig`: the encoder of the detector.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct DetrEncoderConfig {
    /// Width of the layers, equal to that of the pyramid.
    pub hidden_size: usize,
    /// Number of layers in the encoder.
    pub num_layers: usize,
    /// Number of attention heads, which divides the width.
    pub num_attention_heads: usize,
    /// Width of the MLP, in channels.
    pub intermediate_size: usize,
    /// Activation of the MLP: `gelu` or `relu`.
    pub hidden_act: String,
}

impl Default for DetrEncoderConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            num_layers: 6,
            num_attention_heads: 8,
            intermediate_size: 2048,
            hidden_act: "relu".into(),
        }
    }
}

/// `Sam3DETRDecoderConfig`: the decoder of the detector.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct DetrDecoderConfig {
    /// Width of the layers, equal to that of the pyramid.
    pub hidden_size: usize,
    /// Number of layers in the decoder.
    pub num_layers: usize,
    /// Number of object queries: the maximum number of detections of a prompt.
    pub num_queries: usize,
    /// Number of attention heads, which divides the width.
    pub num_attention_heads: usize,
    /// Width of the MLP, in channels.
    pub intermediate_size: usize,
    /// Activation of the MLP: `gelu` or `relu`.
    pub hidden_act: String,
}

impl Default for DetrDecoderConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            num_layers: 6,
            num_queries: 200,
            num_attention_heads: 8,
            intermediate_size: 2048,
            hidden_act: "relu".into(),
        }
    }
}

/// `Sam3MaskDecoderConfig`: the detector's mask head.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct MaskDecoderConfig {
    /// Width of the decoder, equal to that of the pyramid.
    pub hidden_size: usize,
    /// Number of heads of the attention to the prompt.
    pub num_attention_heads: usize,
    /// Number of convolutions that the model has; one for each pyramid level above the coarsest is used.
    pub num_upsampling_stages: usize,
}

impl Default for MaskDecoderConfig {
    fn default() -> Self {
        Self { hidden_size: 256, num_attention_heads: 8, num_upsampling_stages: 3 }
    }
}

impl DetectorConfig {
    pub(super) fn validate(&self) -> Result<()> {
        self.vision_config.validate("detector_config.vision_config")?;
        let text = &self.text_config;
        require_heads("detector_config.text_config", text.hidden_size, text.num_attention_heads)?;
        activation("detector_config.text_config.hidden_act", &text.hidden_act)?;
        let width = self.vision_config.fpn_hidden_size;
        for (name, hidden, heads) in [
            (
                "detr_encoder_config",
                self.detr_encoder_config.hidden_size,
                self.detr_encoder_config.num_attention_heads,
            ),
            (
                "detr_decoder_config",
                self.detr_decoder_config.hidden_size,
                self.detr_decoder_config.num_attention_heads,
            ),
            (
                "mask_decoder_config",
                self.mask_decoder_config.hidden_size,
                self.mask_decoder_config.num_attention_heads,
            ),
        ] {
            let prefix = format!("detector_config.{name}");
            require(&format!("{prefix}.hidden_size"), hidden, hidden == width, || {
                format!("the width of the pyramid, fpn_hidden_size = {width}")
            })?;
            require_heads(&prefix, hidden, heads)?;
        }
        require("detector_config.mask_decoder_config.hidden_size", width, width.is_multiple_of(8), || {
            "a multiple of the 8 groups of its norms".into()
        })?;
        let stages = self.mask_decoder_config.num_upsampling_stages;
        require("detector_config.mask_decoder_config.num_upsampling_stages", stages, stages >= 2, || {
            "at least 2: one for each level above the coarsest".into()
        })?;
        let layers = self.detr_decoder_config.num_layers;
        require("detector_config.detr_decoder_config.num_layers", layers, layers > 0, || {
            "at least 1".into()
        })?;
        activation("detector_config.detr_encoder_config.hidden_act", &self.detr_encoder_config.hidden_act)?;
        activation("detector_config.detr_decoder_config.hidden_act", &self.detr_decoder_config.hidden_act)?;
        Ok(())
    }
}

impl VisionConfig {
    pub(super) fn validate(&self, prefix: &str) -> Result<()> {
        let vit = &self.backbone_config;
        let key = |name: &str| format!("{prefix}.backbone_config.{name}");
        require_heads(&key("").replace("..", "."), vit.hidden_size, vit.num_attention_heads)?;
        let head_dim = vit.hidden_size / vit.num_attention_heads;
        require(&key("num_attention_heads"), vit.num_attention_heads, head_dim.is_multiple_of(4), || {
            format!("rotary embedding needs a head width that is a multiple of 4, not {head_dim}")
        })?;
        activation(&key("hidden_act"), &vit.hidden_act)?;
        vit.rope_parameters.validate(&format!("{prefix}.backbone_config"))?;
        require(
            &key("layer_scale_init_value"),
            vit.layer_scale_init_value,
            vit.layer_scale_init_value.is_none(),
            || "layer scale is not implemented".into(),
        )?;
        require(&key("num_channels"), vit.num_channels, vit.num_channels == 3, || "3: RGB".into())?;
        require(&key("window_size"), vit.window_size, vit.window_size > 0, || "at least 1".into())?;
        let fits = vit.patch_size > 0 && vit.image_size > 0 && vit.image_size.is_multiple_of(vit.patch_size);
        require(&key("image_size"), vit.image_size, fits, || {
            format!("a multiple of patch_size = {}", vit.patch_size)
        })?;
        let pretrain_fits = vit.pretrain_image_size >= vit.patch_size;
        require(&key("pretrain_image_size"), vit.pretrain_image_size, pretrain_fits, || {
            format!("at least patch_size = {}", vit.patch_size)
        })?;
        let scales = &self.scale_factors;
        require(&format!("{prefix}.scale_factors"), scales, *scales == [4.0, 2.0, 1.0, 0.5], || {
            "[4, 2, 1, 0.5] is implemented".into()
        })?;
        let grid = vit.grid();
        let want: Vec<[usize; 2]> = [4, 2, 1].map(|s| [s * grid; 2]).to_vec();
        require(
            &format!("{prefix}.backbone_feature_sizes"),
            &self.backbone_feature_sizes,
            self.backbone_feature_sizes == want,
            || format!("{want:?}, from the patch grid of {grid}"),
        )
    }
}
