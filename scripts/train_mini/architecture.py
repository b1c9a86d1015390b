"""The architecture of courtside-mini: every kind of layer of SAM3, with 8.4 million parameters for images of 448 pixels."""

from __future__ import annotations

from pathlib import Path

import torch
from parity import checkpoint, training
from parity.checkpoint import UNUSED
from parity.tokenizer import CORPUS, make_tokenizer
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer, Sam3VideoConfig, Sam3VideoModel
from transformers.models.sam3.modeling_sam3 import inverse_sigmoid

PATCH = 14
GRID = 32
"""Patches per side."""
IMAGE_SIZE = GRID * PATCH
MASK_SIZE = 4 * GRID
"""Rows and columns of a predicted mask."""
HIDDEN = 128
N_QUERIES = 100
QUERIES_PER_SIDE = 10
SESSION = {
    "new_det_thresh": 0.5,
    "recondition_on_trk_masks": False,
    "recondition_every_nth_frame": 1,
    "high_conf_thresh": 0.5,
    "high_iou_thresh": 0.4,
}
"""Where tracking differs from SAM3's defaults: so small a detector is less certain, and so small a memory drifts, therefore
every detection that fits a track replaces its mask. Chosen on the training part of vtest.avi."""
WORDS = CORPUS + " basketball players athlete athletes pedestrian pedestrians official man woman"


def tokenizer() -> CLIPTokenizer:
    return make_tokenizer(WORDS, n_merges=90)


def config(n_tokens: int) -> Sam3VideoConfig:
    """The configuration for a tokenizer with `n_tokens` tokens."""
    vision = {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH,
            "window_size": 8,
            "global_attn_indexes": [2, 5],
            "pretrain_image_size": IMAGE_SIZE,
        },
        "fpn_hidden_size": HIDDEN,
        "backbone_feature_sizes": [[4 * GRID] * 2, [2 * GRID] * 2, [GRID] * 2],
    }
    text = {
        "model_type": "clip_text_model",
        "vocab_size": n_tokens,
        "hidden_size": 64,
        "intermediate_size": 128,
        "projection_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
        "hidden_act": "gelu",
        "bos_token_id": n_tokens - 2,
        "eos_token_id": n_tokens - 1,
        "pad_token_id": n_tokens - 1,
    }
    transformer = {
        "hidden_size": HIDDEN,
        "num_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "dropout": 0.0,
    }
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": text,
        "geometry_encoder_config": {
            "hidden_size": HIDDEN,
            "num_layers": 1,
            "num_attention_heads": 8,
            "intermediate_size": 128,
            "roi_size": 3,
        },
        "detr_encoder_config": transformer,
        "detr_decoder_config": transformer | {"num_queries": N_QUERIES},
        "mask_decoder_config": {"hidden_size": HIDDEN, "num_attention_heads": 8},
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "image_size": IMAGE_SIZE,
        "prompt_encoder_config": {"hidden_size": HIDDEN, "image_size": IMAGE_SIZE, "patch_size": PATCH},
        "mask_decoder_config": {"hidden_size": HIDDEN, "mlp_dim": 256, "iou_head_hidden_dim": HIDDEN},
        "memory_attention_hidden_size": HIDDEN,
        "memory_attention_num_layers": 2,
        "memory_attention_feed_forward_hidden_size": 256,
        "memory_attention_dropout": 0.0,
        "memory_attention_rope_dropout": 0.0,
        "memory_attention_rope_feat_sizes": [GRID, GRID],
        "memory_encoder_hidden_size": HIDDEN,
        "mask_downsampler_embed_dim": HIDDEN,
        "memory_fuser_embed_dim": HIDDEN,
        "memory_fuser_intermediate_dim": 256,
    }
    return Sam3VideoConfig(detector_config=detector, tracker_config=tracker, low_res_mask_size=MASK_SIZE, **SESSION)


def build(seed: int) -> tuple[Sam3VideoModel, CLIPTokenizer]:
    """A model with random weights."""
    torch.manual_seed(seed)
    words = tokenizer()
    model = Sam3VideoModel(config(len(words)))
    model.config.architectures = ["Sam3VideoModel"]
    training.initialise(model)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
                module.weight.fill_(1)
                module.bias.zero_()
        _spread_queries(model)
        # An object counts as visible until the memory has learned when it is not.
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3.0)
    return model, words


def _spread_queries(model: Sam3VideoModel) -> None:
    """Put the reference boxes of the queries on a grid, and let every query attend to the inside of its box.

    The relative position bias of a box edge is a multi-layer perceptron of the two distances to it. Two of its hidden
    units start as rectifiers of "left of the box" and "right of the box", with a large negative weight.
    """
    decoder = model.detector_model.detr_decoder
    steps = (torch.arange(QUERIES_PER_SIDE) + 0.5) / QUERIES_PER_SIDE
    y, x = (part.flatten() for part in torch.meshgrid(steps, steps, indexing="ij"))
    boxes = torch.stack([x, y, torch.full_like(x, 0.05), torch.full_like(x, 0.14)], dim=-1)
    decoder.reference_points.weight.copy_(inverse_sigmoid(boxes))
    decoder.query_embed.weight.mul_(0.2)
    decoder.box_head.layer3.weight.mul_(0.05)
    for bias in (decoder.box_rpb_embed_x, decoder.box_rpb_embed_y):
        bias.layer1.weight.mul_(0.1)
        bias.layer1.weight[:2] = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
        bias.layer1.bias[:2] = 0
        bias.layer2.weight.mul_(0.02)
        bias.layer2.weight[:, :2] = -30.0
        bias.layer2.weight[:2, :2] = -8.0


def load_weights(model: Sam3VideoModel, folder: Path) -> None:
    """Replace the weights of `model` by those of an earlier training."""
    tensors = load_file(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict({name: t.float() for name, t in tensors.items()}, strict=False)
    if unexpected or [name for name in missing if not name.startswith(UNUSED)]:
        raise ValueError(f"{folder} has another architecture")


def save(model: Sam3VideoModel, words: CLIPTokenizer, out: Path) -> None:
    """Write the folder that `Sam3VideoModel.from_pretrained` and Courtside read, with weights in bf16."""
    out.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(out)
    tensors = {
        name: tensor.to(torch.bfloat16).contiguous().clone()
        for name, tensor in model.state_dict().items()
        if not name.startswith(UNUSED)
    }
    partial = out / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(out / "model.safetensors")
    checkpoint.processor(IMAGE_SIZE, MASK_SIZE, words).save_pretrained(out)
