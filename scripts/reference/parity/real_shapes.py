"""Single modules at the real configuration, with weights and inputs by formula (see `formula.py`).

For every case, `reference.json` lists the module's path in the model, its parameters (path inside the module, name,
shape, scale, offset), its inputs and its outputs. For every output, `reference.safetensors` has
`{case}.{output}.sample` (the elements `flattened[::stride]`, f32) and `{case}.{output}.moments` (mean, L2 norm and
largest magnitude of the complete output, f64).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Sam3VideoConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.sam3 import modeling_sam3 as sam3
from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as tracker

from parity import provenance
from parity.formula import Uniform, fill
from parity.layers import named_tensors

SAMPLES = 2048
TOLERANCE = 1e-5  # relative; the difference between f32 and f64 is below 1e-6
GRID = 72
TOKENS = GRID * GRID
TEXT = 32
PROMPT_TOKENS = 7  # the first seven of the 32 text tokens are valid
MEMORY_FRAMES = 7
POINTER_TOKENS = 16 * 4
TEXT_VOCABULARY = 64  # in the text case, instead of 49408

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A module, its inputs, and a function that calls it."""

    name: str
    module: str
    """Path of the module in the model (for repeated layers, of one of them)."""
    build: Callable[[Sam3VideoConfig], nn.Module]
    inputs: dict[str, tuple[tuple[int, ...], float]]
    """Shape and scale of each input."""
    call: Callable[[nn.Module, Inputs], object]
    note: str = ""
    outputs: tuple[str, ...] = ()
    """Names of the outputs in order."""
    reads: str = ""
    """Prefix of the parameters that are used, if the module has many others."""
    constants: dict[str, list] = field(default_factory=dict)
    """Integer inputs, as values."""


def sine_positions() -> Tensor:
    """The reference's sine position embedding of the 72x72 level, [1, 256, 72, 72]."""
    embedding = sam3.Sam3SinePositionEmbedding(num_position_features=128, normalize=True)
    return embedding(torch.Size((1, 256, GRID, GRID)), torch.device("cpu"), torch.float32)


def text_mask() -> Tensor:
    """[1, 32]: true on the first seven tokens."""
    return (torch.arange(TEXT) < PROMPT_TOKENS)[None]


def _vit(window: bool) -> Case:
    name = "vit_window" if window else "vit_global"

    def build(config: Sam3VideoConfig) -> nn.Module:
        backbone = config.detector_config.vision_config.backbone_config
        return sam3.Sam3ViTLayer(backbone, window_size=backbone.window_size if window else 0)

    return Case(
        name,
        f"detector_model.vision_encoder.backbone.layers.{0 if window else 7}",
        build,
        {"hidden_states": ((1, GRID, GRID, 1024), 1.0)},
        lambda module, x: module(x["hidden_states"]),
        outputs=("hidden_states",),
    )


def _neck_level(level: int) -> Case:
    def build(config: Sam3VideoConfig) -> nn.Module:
        return sam3.Sam3VisionNeck(config.detector_config.vision_config).fpn_layers[level]

    return Case(
        f"neck_{level}",
        f"detector_model.vision_encoder.neck.fpn_layers.{level}",
        build,
        {"hidden_states": ((1, 1024, GRID, GRID), 1.0)},
        lambda module, x: module(x["hidden_states"]),
        outputs=("features",),
    )


def _vit_embeddings() -> Case:
    return Case(
        "vit_embeddings",
        "detector_model.vision_encoder.backbone.embeddings",
        lambda config: sam3.Sam3ViTEmbeddings(config.detector_config.vision_config.backbone_config),
        {"pixel_values": ((1, 3, 1008, 1008), 1.0)},
        lambda module, x: module(x["pixel_values"]),
        "Position embeddings 24x24, tiled three times each way.",
        outputs=("embeddings",),
    )


def _text() -> Case:
    ids = [TEXT_VOCABULARY - 2, 5, 17, 8, 40, 23] + [TEXT_VOCABULARY - 1] * (TEXT - 6)

    def build(config: Sam3VideoConfig) -> nn.Module:
        text = config.detector_config.text_config
        text.num_hidden_layers, text.vocab_size = 1, TEXT_VOCABULARY
        text.bos_token_id, text.eos_token_id = TEXT_VOCABULARY - 2, TEXT_VOCABULARY - 1
        text.pad_token_id = text.eos_token_id
        return CLIPTextModel(text)

    def call(module: nn.Module, x: Inputs) -> object:
        return module(input_ids=torch.tensor([ids]), attention_mask=text_mask().long()).last_hidden_state

    return Case(
        "text",
        "detector_model.text_encoder.text_model",
        build,
        {},
        call,
        f"Embeddings, one layer and the final norm; a vocabulary of {TEXT_VOCABULARY} tokens. Causal and padding mask.",
        outputs=("last_hidden_state",),
        constants={"input_ids": ids, "attention_mask": text_mask()[0].long().tolist()},
    )


def _detr_encoder() -> Case:
    def build(config: Sam3VideoConfig) -> nn.Module:
        encoder = config.detector_config.detr_encoder_config
        encoder.num_layers = 1
        return sam3.Sam3DetrEncoder(encoder)

    def call(module: nn.Module, x: Inputs) -> object:
        return module(
            vision_features=[x["vision_features"]],
            text_features=x["text_features"],
            vision_pos_embeds=[sine_positions()],
            text_mask=text_mask(),
        ).last_hidden_state

    return Case(
        "detr_encoder",
        "detector_model.detr_encoder",
        build,
        {"vision_features": ((1, 256, GRID, GRID), 1.0), "text_features": ((1, TEXT, 256), 1.0)},
        call,
        "One layer. Positions: the sine embedding of the level. Text mask: the first seven tokens.",
        outputs=("hidden_states",),
    )


def _detr_decoder() -> Case:
    def build(config: Sam3VideoConfig) -> nn.Module:
        decoder = config.detector_config.detr_decoder_config
        decoder.num_layers = 2
        return sam3.Sam3DetrDecoder(decoder)

    def call(module: nn.Module, x: Inputs) -> object:
        out = module(
            vision_features=x["vision_features"],
            text_features=x["text_features"],
            vision_pos_encoding=sine_positions().flatten(2).transpose(1, 2),
            text_mask=text_mask(),
            spatial_shapes=torch.tensor([[GRID, GRID]]),
        )
        return out.intermediate_hidden_states, out.reference_boxes, out.presence_logits

    return Case(
        "detr_decoder",
        "detector_model.detr_decoder",
        build,
        {"vision_features": ((1, TOKENS, 256), 1.0), "text_features": ((1, TEXT, 256), 1.0)},
        call,
        "Two layers, so that the second one sees refined boxes and their bias. The outputs have a leading axis of "
        "layers; hidden states are after the output norm, boxes are the ones before each layer (cx, cy, w, h).",
        outputs=("hidden_states", "reference_boxes", "presence_logits"),
    )


def _scoring() -> Case:
    return Case(
        "dot_product_scoring",
        "detector_model.dot_product_scoring",
        lambda config: sam3.Sam3DotProductScoring(config.detector_config),
        {"hidden_states": ((1, 1, 200, 256), 1.0), "text_features": ((1, TEXT, 256), 1.0)},
        lambda module, x: module(x["hidden_states"], x["text_features"], text_mask()),
        outputs=("logits",),
    )


def _mask_decoder() -> Case:
    def call(module: nn.Module, x: Inputs) -> object:
        return module(
            decoder_queries=x["queries"],
            backbone_features=[x["features_288"], x["features_144"], x["features_72"]],
            encoder_hidden_states=x["encoder_hidden_states"],
            prompt_features=x["text_features"],
            prompt_mask=text_mask(),
        ).pred_masks

    return Case(
        "mask_decoder",
        "detector_model.mask_decoder",
        lambda config: sam3.Sam3MaskDecoder(config.detector_config.mask_decoder_config),
        {
            "queries": ((1, 200, 256), 1.0),
            "features_288": ((1, 256, 4 * GRID, 4 * GRID), 1.0),
            "features_144": ((1, 256, 2 * GRID, 2 * GRID), 1.0),
            "features_72": ((1, 256, GRID, GRID), 1.0),
            "encoder_hidden_states": ((1, TOKENS, 256), 1.0),
            "text_features": ((1, TEXT, 256), 1.0),
        },
        call,
        "`features_72` is replaced by the encoder's states; it is here because the reference asks for it.",
        outputs=("pred_masks",),
    )


def _memory_attention() -> Case:
    length = MEMORY_FRAMES * TOKENS + POINTER_TOKENS

    def build(config: Sam3VideoConfig) -> nn.Module:
        config.tracker_config.memory_attention_num_layers = 1
        return tracker.Sam3TrackerVideoMemoryAttention(config.tracker_config)

    def call(module: nn.Module, x: Inputs) -> object:
        return module(
            current_vision_features=x["features"],
            current_vision_position_embeddings=sine_positions().flatten(2).permute(2, 0, 1),
            memory=x["memory"],
            memory_posision_embeddings=x["memory_positions"],
            num_object_pointer_tokens=POINTER_TOKENS,
        )

    return Case(
        "memory_attention",
        "tracker_model.memory_attention",
        build,
        {
            "features": ((TOKENS, 1, 256), 1.0),
            "memory": ((length, 1, 64), 1.2),
            "memory_positions": ((length, 1, 64), 1.2),
        },
        call,
        f"One layer and the final norm; {MEMORY_FRAMES} memory frames, then {POINTER_TOKENS} pointer tokens.",
        outputs=("features",),
    )


def _sam_mask_decoder() -> Case:
    def call(module: nn.Module, x: Inputs) -> object:
        return module(
            image_embeddings=x["image_embeddings"],
            image_positional_embeddings=x["image_positions"],
            sparse_prompt_embeddings=x["sparse"],
            dense_prompt_embeddings=x["dense"],
            multimask_output=True,
            high_resolution_features=[x["features_288"], x["features_144"]],
        )

    return Case(
        "sam_mask_decoder",
        "tracker_model.mask_decoder",
        lambda config: tracker.Sam3TrackerVideoMaskDecoder(config.tracker_config.mask_decoder_config),
        {
            "image_embeddings": ((1, 256, GRID, GRID), 1.0),
            "image_positions": ((1, 256, GRID, GRID), 1.0),
            "sparse": ((1, 1, 2, 256), 1.0),
            "dense": ((1, 256, GRID, GRID), 1.0),
            "features_288": ((1, 32, 4 * GRID, 4 * GRID), 1.0),
            "features_144": ((1, 64, 2 * GRID, 2 * GRID), 1.0),
        },
        call,
        "Three masks (multimask output). The features are those after conv_s0 and conv_s1.",
        outputs=("masks", "iou", "tokens", "object_score"),
    )


def _memory_encoder() -> Case:
    return Case(
        "memory_encoder",
        "tracker_model.memory_encoder",
        lambda config: tracker.Sam3TrackerVideoMemoryEncoder(config.tracker_config),
        {"features": ((1, 256, GRID, GRID), 1.0), "masks": ((1, 1, 16 * GRID, 16 * GRID), 10.0)},
        lambda module, x: module(x["features"], x["masks"]),
        "f32, before the cast to bf16; the masks are already scaled.",
        outputs=("memory", "positions"),
    )


def _image_positions() -> Case:
    def build(config: Sam3VideoConfig) -> nn.Module:
        return tracker.Sam3TrackerVideoModel(config.tracker_config, remove_vision_encoder=True)

    return Case(
        "image_positions",
        "tracker_model",
        build,
        {},
        lambda module, x: module.get_image_wide_positional_embeddings(),
        outputs=("positions",),
        reads="shared_image_embedding.",
    )


CASES: tuple[Callable[[], Case], ...] = (
    _vit_embeddings,
    lambda: _vit(window=True),
    lambda: _vit(window=False),
    lambda: _neck_level(0),
    lambda: _neck_level(1),
    lambda: _neck_level(2),
    _text,
    _detr_encoder,
    _detr_decoder,
    _scoring,
    _mask_decoder,
    _memory_attention,
    _sam_mask_decoder,
    _memory_encoder,
    _image_positions,
)


def run(case: Case) -> tuple[dict, dict[str, Tensor]]:
    """A case's entry in `reference.json` and its tensors."""
    config = Sam3VideoConfig()
    for part in (config.detector_config, config.tracker_config):
        _use_sdpa(part)
    module = case.build(config).eval()
    parameters = fill(case.name, module, case.reads)
    inputs = {name: Uniform(f"{case.name}/{name}", shape, scale) for name, (shape, scale) in case.inputs.items()}
    started = time.monotonic()
    with torch.inference_mode():
        out = case.call(module, {name: recipe.tensor() for name, recipe in inputs.items()})
    outputs, tensors = {}, {}
    values = list(named_tensors(out).values())
    for name, value in zip(case.outputs, values, strict=True):
        value = value.float().contiguous()
        stride = -(-value.numel() // SAMPLES) | 1
        flat = value.flatten()
        tensors[f"{case.name}.{name}.sample"] = flat[::stride].clone()
        wide = flat.double()
        moments = [wide.mean(), wide.norm(), wide.abs().max()]
        tensors[f"{case.name}.{name}.moments"] = torch.stack(moments)
        outputs[name] = {"shape": list(value.shape), "stride": stride}
        print(f"{case.name}.{name} {list(value.shape)} mean {moments[0]:.4f} rms {wide.square().mean().sqrt():.4f}")
    print(f"   {time.monotonic() - started:.1f} s", flush=True)
    prefix = len(case.name) + 1
    entry = {
        "module": case.module,
        "note": case.note,
        "constants": case.constants,
        "inputs": {name: recipe.describe() for name, recipe in inputs.items()},
        "outputs": outputs,
        "parameters": {recipe.name[prefix:]: recipe.describe() for recipe in parameters},
    }
    return entry, tensors


def _use_sdpa(config: object) -> None:
    """Set the attention implementation, which a module built outside of a model lacks."""
    config._attn_implementation = "sdpa"
    for value in vars(config).values():
        if hasattr(value, "_attn_implementation"):
            _use_sdpa(value)


def collect() -> tuple[dict[str, dict], dict[str, Tensor]]:
    """Yields the cases one at a time."""
    entries, tensors = {}, {}
    for make in CASES:
        case = make()
        entries[case.name], more = run(case)
        tensors |= more
    return entries, tensors


def write(out: Path) -> None:
    """Run all cases and store their outputs."""
    out.mkdir(parents=True, exist_ok=True)
    entries, tensors = collect()
    save_file(tensors, out / "reference.safetensors")
    (out / "reference.safetensors").chmod(0o644)
    (out / "reference.json").write_text(dumps(entries))
    (out / "PROVENANCE.md").write_text(provenance.real_shapes(entries))


def check(out: Path) -> None:
    """Run all cases and compare with the stored outputs."""
    entries, tensors = collect()
    if json.loads(dumps(entries)) != json.loads((out / "reference.json").read_text()):
        raise SystemExit("reference.json differs")
    stored = load_file(out / "reference.safetensors")
    if stored.keys() != tensors.keys():
        raise SystemExit(f"other keys: {sorted(stored.keys() ^ tensors.keys())[:5]}")
    worst, name = max((relative(tensors[key], stored[key]), key) for key in stored)
    print(f"{len(stored)} tensors, largest relative difference {worst:.2e} ({name})")
    if worst > TOLERANCE:
        raise SystemExit(f"{name} differs")
    print(f"{out.name}: reproduced")


def relative(a: Tensor, b: Tensor) -> float:
    """L2 distance over L2 norm."""
    return float((a.double() - b.double()).norm() / b.double().norm())


def dumps(entries: dict[str, dict]) -> str:
    """JSON with one line per parameter, input and output."""
    cases = []
    for name, entry in entries.items():
        fields = []
        for key, value in entry.items():
            if key in ("parameters", "inputs", "outputs") and value:
                rows = ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
                fields.append(f"  {json.dumps(key)}: {{\n   {rows}\n  }}")
            else:
                fields.append(f"  {json.dumps(key)}: {json.dumps(value)}")
        cases.append(f" {json.dumps(name)}: {{\n" + ",\n".join(fields) + "\n }")
    return "{\n" + ",\n".join(cases) + "\n}\n"
