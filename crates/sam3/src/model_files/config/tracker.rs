//! The tracker's part of `config.json` (reference: `configuration_sam3_tracker_video.py`).

use serde::Deserialize;

use super::detector::{DetectorConfig, VisionConfig};
use super::shared::{RopeParameters, activation, require, require_heads};
use crate::error::Result;

/// `Sam3TrackerVideoConfig`: memory attention, memory encoder and SAM head.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct TrackerConfig {
    /// Shapes of the features that the tracker reads; equal to the detector's.
    pub vision_config: VisionConfig,
    /// The encoder of mask prompts.
    pub prompt_encoder_config: PromptEncoderConfig,
    /// The SAM head, which reads masks from features.
    pub mask_decoder_config: SamHeadConfig,
    /// Number of memory frames that an object attends to, the current frame included.
    pub num_maskmem: usize,
    /// Scale applied to a mask's probabilities before the memory encoder.
    pub sigmoid_scale_for_mem_enc: f64,
    /// Offset added to a mask's scaled probabilities before the memory encoder.
    pub sigmoid_bias_for_mem_enc: f64,
    /// Whether the memory of an object that is not visible is marked.
    pub enable_occlusion_spatial_embedding: bool,
    /// Whether the SAM head proposes several masks.
    pub multimask_output_in_sam: bool,
    /// Minimum number of points in a prompt for several masks.
    pub multimask_min_pt_num: i64,
    /// Maximum number of points in a prompt for several masks.
    pub multimask_max_pt_num: i64,
    /// Whether the SAM head also proposes several masks on frames without a prompt.
    pub multimask_output_for_tracking: bool,
    /// Number of object pointers that an object attends to, the current frame's included.
    pub max_object_pointers_in_encoder: usize,
    /// Number of conditioning frames that an object attends to; -1: all.
    pub max_cond_frame_num: i64,
    /// Whether pointers get an embedding of their age.
    pub enable_temporal_pos_encoding_for_object_pointers: bool,
    /// Width of memory attention, in channels.
    pub memory_attention_hidden_size: usize,
    /// Number of layers of memory attention.
    pub memory_attention_num_layers: usize,
    /// Number of heads of memory attention.
    pub memory_attention_num_attention_heads: usize,
    /// Factor by which the width is reduced inside the attention.
    pub memory_attention_downsample_rate: usize,
    /// Width of memory attention's MLP, in channels.
    pub memory_attention_feed_forward_hidden_size: usize,
    /// Activation of memory attention's MLP: `gelu` or `relu`.
    pub memory_attention_feed_forward_hidden_act: String,
    /// Grid of the rotary position embedding; absent: 72 × 72.
    pub memory_attention_rope_feat_sizes: Option<[usize; 2]>,
    /// Width of the memory encoder, in channels.
    pub memory_encoder_hidden_size: usize,
    /// Channels of a memory; a pointer is split into tokens of this width.
    pub memory_encoder_output_channels: usize,
    /// Base of the rotary position embedding.
    pub rope_parameters: RopeParameters,
    /// Channels of the downsampled mask.
    pub mask_downsampler_embed_dim: usize,
    /// Kernel size of the mask downsampler's convolutions.
    pub mask_downsampler_kernel_size: usize,
    /// Stride of the mask downsampler's convolutions.
    pub mask_downsampler_stride: usize,
    /// Padding of the mask downsampler's convolutions.
    pub mask_downsampler_padding: usize,
    /// Factor by which all its convolutions together reduce the mask.
    pub mask_downsampler_total_stride: usize,
    /// Activation between the mask downsampler's convolutions.
    pub mask_downsampler_hidden_act: String,
    /// Number of blocks of the memory fuser.
    pub memory_fuser_num_layers: usize,
    /// Channels of the memory fuser.
    pub memory_fuser_embed_dim: usize,
    /// Width of the MLPs in the memory fuser's blocks.
    pub memory_fuser_intermediate_dim: usize,
    /// Kernel size of the memory fuser's depthwise convolutions.
    pub memory_fuser_kernel_size: usize,
    /// Padding of the memory fuser's depthwise convolutions.
    pub memory_fuser_padding: usize,
    /// Activation in the memory fuser's blocks.
    pub memory_fuser_hidden_act: String,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            vision_config: VisionConfig::default(),
            prompt_encoder_config: PromptEncoderConfig::default(),
            mask_decoder_config: SamHeadConfig::default(),
            num_maskmem: 7,
            sigmoid_scale_for_mem_enc: 20.0,
            sigmoid_bias_for_mem_enc: -10.0,
            enable_occlusion_spatial_embedding: true,
            multimask_output_in_sam: true,
            multimask_min_pt_num: 0,
            multimask_max_pt_num: 1,
            multimask_output_for_tracking: true,
            max_object_pointers_in_encoder: 16,
            max_cond_frame_num: 4,
            enable_temporal_pos_encoding_for_object_pointers: true,
            memory_attention_hidden_size: 256,
            memory_attention_num_layers: 4,
            memory_attention_num_attention_heads: 1,
            memory_attention_downsample_rate: 1,
            memory_attention_feed_forward_hidden_size: 2048,
            memory_attention_feed_forward_hidden_act: "relu".into(),
            memory_attention_rope_feat_sizes: None,
            memory_encoder_hidden_size: 256,
            memory_encoder_output_channels: 64,
            rope_parameters: RopeParameters::default(),
            mask_downsampler_embed_dim: 256,
            mask_downsampler_kernel_size: 3,
            mask_downsampler_stride: 2,
            mask_downsampler_padding: 1,
            mask_downsampler_total_stride: 16,
            mask_downsampler_hidden_act: "gelu".into(),
            memory_fuser_num_layers: 2,
            memory_fuser_embed_dim: 256,
            memory_fuser_intermediate_dim: 1024,
            memory_fuser_kernel_size: 7,
            memory_fuser_padding: 3,
            memory_fuser_hidden_act: "gelu".into(),
        }
    }
}

/// `Sam3TrackerVideoPromptEncoderConfig`: the encoder of mask prompts.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct PromptEncoderConfig {
    /// Width of the embedding, in channels.
    pub hidden_size: usize,
    /// Height and width of the model's input image, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of the mask embedding before its last layer.
    pub mask_input_channels: usize,
    /// Activation of the mask embedding.
    pub hidden_act: String,
    /// ε of the mask embedding's layer norms.
    pub layer_norm_eps: f64,
}

impl Default for PromptEncoderConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            image_size: 1008,
            patch_size: 14,
            mask_input_channels: 16,
            hidden_act: "gelu".into(),
            layer_norm_eps: 1e-6,
        }
    }
}

/// `Sam3TrackerVideoMaskDecoderConfig`: the SAM head.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct SamHeadConfig {
    /// Width of the tokens, in channels.
    pub hidden_size: usize,
    /// Width of the MLPs, in channels.
    pub mlp_dim: usize,
    /// Number of two-way attention layers.
    pub num_hidden_layers: usize,
    /// Number of heads of every attention.
    pub num_attention_heads: usize,
    /// Factor by which cross-attention reduces the width.
    pub attention_downsample_rate: usize,
    /// Number of masks proposed in addition to the single one.
    pub num_multimask_outputs: usize,
    /// Number of layers of the head that predicts the IoU of each mask.
    pub iou_head_depth: usize,
    /// Width of the head that predicts the IoU, in channels.
    pub iou_head_hidden_dim: usize,
    /// Whether an unstable single mask is replaced by the best of several.
    pub dynamic_multimask_via_stability: bool,
    /// Offset of the logit threshold in the stability score.
    pub dynamic_multimask_stability_delta: f32,
    /// Stability score from which the single mask is kept.
    pub dynamic_multimask_stability_thresh: f32,
}

impl Default for SamHeadConfig {
    fn default() -> Self {
        Self {
            hidden_size: 256,
            mlp_dim: 2048,
            num_hidden_layers: 2,
            num_attention_heads: 8,
            attention_downsample_rate: 2,
            num_multimask_outputs: 3,
            iou_head_depth: 3,
            iou_head_hidden_dim: 256,
            dynamic_multimask_via_stability: true,
            dynamic_multimask_stability_delta: 0.05,
            dynamic_multimask_stability_thresh: 0.98,
        }
    }
}

impl TrackerConfig {
    /// Height and width of the grid of the rotary position embedding.
    pub fn rope_grid(&self) -> [usize; 2] {
        self.memory_attention_rope_feat_sizes.unwrap_or([72, 72])
    }

    /// Whether the SAM head proposes several masks for an object that has no point prompts.
    pub fn multimask(&self, is_conditioning_frame: bool) -> bool {
        self.multimask_output_in_sam
            && (is_conditioning_frame || self.multimask_output_for_tracking)
            && (self.multimask_min_pt_num..=self.multimask_max_pt_num).contains(&0)
    }

    /// Number of strided convolutions of the mask downsampler.
    pub fn mask_downsampler_layers(&self) -> usize {
        let log2 = |x: usize| x.max(1).ilog2();
        (log2(self.mask_downsampler_total_stride) / log2(self.mask_downsampler_stride).max(1)) as usize
    }

    pub(super) fn validate(&self, detector: &DetectorConfig) -> Result<()> {
        self.vision_config.validate("tracker_config.vision_config")?;
        let width = detector.vision_config.fpn_hidden_size;
        let grid = detector.vision_config.backbone_config.grid();
        let key = |name: &str| format!("tracker_config.{name}");
        for (name, value) in [
            ("vision_config.fpn_hidden_size", self.vision_config.fpn_hidden_size),
            ("prompt_encoder_config.hidden_size", self.prompt_encoder_config.hidden_size),
            ("mask_decoder_config.hidden_size", self.mask_decoder_config.hidden_size),
            ("memory_attention_hidden_size", self.memory_attention_hidden_size),
            ("memory_encoder_hidden_size", self.memory_encoder_hidden_size),
            ("mask_downsampler_embed_dim", self.mask_downsampler_embed_dim),
            ("memory_fuser_embed_dim", self.memory_fuser_embed_dim),
        ] {
            require(&key(name), value, value == width, || {
                format!("the width of the pyramid, fpn_hidden_size = {width}")
            })?;
        }
        self.validate_grid(grid)?;
        let prompt = &self.prompt_encoder_config;
        activation(&key("prompt_encoder_config.hidden_act"), &prompt.hidden_act)?;
        activation(
            &key("memory_attention_feed_forward_hidden_act"),
            &self.memory_attention_feed_forward_hidden_act,
        )?;
        activation(&key("mask_downsampler_hidden_act"), &self.mask_downsampler_hidden_act)?;
        activation(&key("memory_fuser_hidden_act"), &self.memory_fuser_hidden_act)?;
        self.rope_parameters.validate("tracker_config")?;
        self.validate_memory(width)?;
        self.validate_sam_head()
    }

    fn validate_grid(&self, grid: usize) -> Result<()> {
        let prompt = &self.prompt_encoder_config;
        let fits = prompt.patch_size > 0 && prompt.image_size / prompt.patch_size == grid;
        require("tracker_config.prompt_encoder_config.image_size", prompt.image_size, fits, || {
            format!("a grid of {grid} patches, as the detector's")
        })?;
        let rope = self.rope_grid();
        require("tracker_config.memory_attention_rope_feat_sizes", rope, rope == [grid; 2], || {
            format!("the patch grid, [{grid}, {grid}]")
        })?;
        let total = self.mask_downsampler_total_stride;
        let stride = self.mask_downsampler_stride;
        let layers = self.mask_downsampler_layers() as u32;
        let ok = stride >= 2 && stride.checked_pow(layers) == Some(total) && total == 16;
        require("tracker_config.mask_downsampler_total_stride", total, ok, || {
            format!(
                "16, a power of mask_downsampler_stride = {stride}: masks are encoded at 16 times the grid"
            )
        })
    }

    fn validate_memory(&self, width: usize) -> Result<()> {
        let inner = width / self.memory_attention_downsample_rate.max(1);
        require_heads("tracker_config.memory_attention", inner, self.memory_attention_num_attention_heads)?;
        let head = inner / self.memory_attention_num_attention_heads;
        require(
            "tracker_config.memory_attention_num_attention_heads",
            self.memory_attention_num_attention_heads,
            head.is_multiple_of(4),
            || format!("rotary embedding needs a head width that is a multiple of 4, not {head}"),
        )?;
        let channels = self.memory_encoder_output_channels;
        let ok = channels > 0 && channels.is_multiple_of(4) && width.is_multiple_of(channels);
        require("tracker_config.memory_encoder_output_channels", channels, ok, || {
            format!("a multiple of 4 that divides the width of {width}, so that pointers can be split")
        })?;
        require("tracker_config.num_maskmem", self.num_maskmem, self.num_maskmem >= 1, || {
            "at least 1: tracking without memory is not implemented".into()
        })?;
        require(
            "tracker_config.max_cond_frame_num",
            self.max_cond_frame_num,
            self.max_cond_frame_num != 0,
            || "at least 1, or -1 for all".into(),
        )?;
        let pointers = self.max_object_pointers_in_encoder;
        require("tracker_config.max_object_pointers_in_encoder", pointers, pointers >= 2, || {
            "at least 2".into()
        })?;
        let (kernel, padding) = (self.memory_fuser_kernel_size, self.memory_fuser_padding);
        require("tracker_config.memory_fuser_padding", padding, kernel == 2 * padding + 1, || {
            format!("half of memory_fuser_kernel_size = {kernel}, so that sizes stay")
        })
    }

    fn validate_sam_head(&self) -> Result<()> {
        let head = &self.mask_decoder_config;
        let prefix = "tracker_config.mask_decoder_config";
        require(
            &format!("{prefix}.hidden_size"),
            head.hidden_size,
            head.hidden_size.is_multiple_of(8),
            || "a multiple of 8: masks are upscaled through an eighth of it".into(),
        )?;
        let rate = head.attention_downsample_rate.max(1);
        require_heads(prefix, head.hidden_size, head.num_attention_heads)?;
        require_heads(prefix, head.hidden_size / rate, head.num_attention_heads)?;
        let depth = head.num_hidden_layers;
        require(&format!("{prefix}.num_hidden_layers"), depth, depth >= 1, || "at least 1".into())?;
        require(&format!("{prefix}.iou_head_depth"), head.iou_head_depth, head.iou_head_depth >= 2, || {
            "at least 2".into()
        })?;
        let outputs = head.num_multimask_outputs;
        require(&format!("{prefix}.num_multimask_outputs"), outputs, outputs >= 1, || "at least 1".into())
    }
}
