"""Builds, saves and loads a fixture's model and processor."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer, Sam3ImageProcessor, Sam3VideoConfig, Sam3VideoModel, Sam3VideoProcessor
from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor

from parity import training
from parity.specs import FixtureSpec
from parity.tokenizer import make_tokenizer

UNUSED = (
    "detector_model.geometry_encoder.",
    "detector_model.text_encoder.text_projection.",
    "detector_model.mask_decoder.semantic_projection.",
    "detector_model.vision_encoder.neck.fpn_layers.3.",
    "tracker_neck.fpn_layers.3.",
)
"""Weights that text-prompted video tracking never reads. The one-file fixture omits them, the sharded one has them."""


def build(spec: FixtureSpec) -> tuple[Sam3VideoModel, CLIPTokenizer]:
    """Train the fixture's model from its seed and round its weights to bf16."""
    torch.manual_seed(spec.seed)
    tokenizer = make_tokenizer()
    model = Sam3VideoModel(Sam3VideoConfig(**spec.config(spec, len(tokenizer))))
    training.initialise(model)
    training.train_detector(model, tokenizer, spec)
    training.train_tracker(model, spec)
    with torch.no_grad():
        for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
            tensor.copy_(tensor.bfloat16().float())
    model.config.architectures = ["Sam3VideoModel"]
    return model, tokenizer


def save(spec: FixtureSpec, model: Sam3VideoModel, tokenizer: CLIPTokenizer, out: Path) -> None:
    """Write the folder that `from_pretrained` reads, the weights as bf16.

    Models on the hub have `tracker_model.*` keys in one file. `save_pretrained` of transformers 5.23 writes
    `tracker_model.tracker_model.*`. Both load, and each fixture has one of them. The reference initialises omitted
    tensors at random and never reads them.
    """
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16)
    if spec.sharded:
        n_bytes = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        model.save_pretrained(out, max_shard_size=n_bytes * 2 // 3)
    else:
        model.config.save_pretrained(out)
        used = {name: t for name, t in model.state_dict().items() if not name.startswith(UNUSED)}
        tensors = {name: t.contiguous().clone() for name, t in used.items()}
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    processor(spec.image_size, spec.mask_size, tokenizer).save_pretrained(out)
    for path in out.iterdir():
        path.chmod(0o644)


def processor(image_size: int, mask_side: int, tokenizer: CLIPTokenizer) -> Sam3VideoProcessor:
    """The processor for images of `image_size` and masks of `mask_side` pixels a side."""
    common = {
        "size": {"height": image_size, "width": image_size},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    mask_size = {"height": mask_side, "width": mask_side}
    return Sam3VideoProcessor(
        image_processor=Sam3ImageProcessor(**common, mask_size=mask_size),
        video_processor=Sam2VideoVideoProcessor(**common),
        tokenizer=tokenizer,
    )


def load(folder: Path) -> tuple[Sam3VideoModel, Sam3VideoProcessor]:
    """Model (f32, evaluation mode) and processor from a fixture folder."""
    model = Sam3VideoModel.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), Sam3VideoProcessor.from_pretrained(folder)
