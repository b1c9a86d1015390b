"""Outputs of single modules, named `module.path#call`, from the first three frames of a streaming run.

The run has the first prompt only. If a module returns several tensors, the first has the plain name and the others have
`module.path#call.KEY` (field of the output) or `.INDEX` (tuple). `call` counts the module's calls from the start of the
run. The first call of every module is kept and, for the tracker, the first call on each of frames 1 and 2. An output
with more than `FULL_UP_TO` elements is subsampled: the stored vector is `flattened[::stride]`.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from transformers import Sam3VideoModel, Sam3VideoProcessor
from transformers.utils import ModelOutput

from parity.cv_utils import kernels
from parity.specs import FixtureSpec

FULL_UP_TO = 4096
SKIPPED = (".semantic_seg", ".pooler_output")  # computed but never used
N_FRAMES = 3

DETECTOR = re.compile(
    r"detector_model(\.("
    r"vision_encoder\.backbone(\.embeddings|\.layers\.\d+)?|vision_encoder\.neck\.fpn_layers\.[012]|"
    r"text_encoder\.text_model|text_projection|detr_encoder\.layers\.\d+|detr_decoder(\.layers\.\d+)?|"
    r"detr_decoder\.(box_head|presence_head|ref_point_head|box_rpb_embed_[xy])|dot_product_scoring|"
    r"mask_decoder(\.pixel_decoder|\.mask_embedder|\.prompt_cross_attn|\.instance_projection)?))?"
)
TRACKER = re.compile(
    r"tracker_neck\.fpn_layers\.[012]|tracker_model\.("
    r"memory_attention(\.layers\.\d+)?|mask_decoder(\.transformer|\.conv_s[01])?|object_pointer_proj|mask_downsample|"
    r"memory_encoder(\.mask_downsampler|\.memory_fuser)?|prompt_encoder\.mask_embed|"
    r"temporal_positional_encoding_projection_layer)"
)


def named_tensors(output: object) -> dict[str, Tensor]:
    """The tensors of a module's output by suffix: "" for the first one, then ".KEY" or ".INDEX"."""
    if isinstance(output, Tensor):
        return {"": output}
    items = list(output.items()) if isinstance(output, (dict, ModelOutput)) else list(enumerate(output))
    tensors = [(key, value) for key, value in items if isinstance(value, Tensor)]
    return {("" if i == 0 else f".{key}"): value for i, (key, value) in enumerate(tensors)}


def thin(tensor: Tensor) -> tuple[Tensor, int]:
    """The tensor as f32, or every stride-th element of it. The stride is odd, so that it visits all channels."""
    if tensor.numel() <= FULL_UP_TO:
        return tensor.detach().float().contiguous().clone(), 1
    stride = -(-tensor.numel() // (FULL_UP_TO // 2)) | 1
    return tensor.detach().float().flatten()[::stride].clone(), stride


class Recorder:
    """Forward hooks that keep the outputs to be stored."""

    def __init__(self, model: Sam3VideoModel) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.index: dict[str, dict] = {}
        self.frame = 0
        self._calls: dict[str, int] = {}
        self._frames_seen: dict[str, set[int]] = {}
        self._handles = [
            module.register_forward_hook(self._hook(name, bool(TRACKER.fullmatch(name))))
            for name, module in model.named_modules()
            if DETECTOR.fullmatch(name) or TRACKER.fullmatch(name)
        ]

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str, tracker: bool) -> object:
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            call = self._calls.get(name, 0)
            self._calls[name] = call + 1
            seen = self._frames_seen.setdefault(name, set())
            first_on_frame = self.frame not in seen
            seen.add(self.frame)
            if call == 0 or (tracker and first_on_frame):
                self._keep(f"{name}#{call}", output)

        return hook

    def _keep(self, name: str, output: object) -> None:
        for suffix, tensor in named_tensors(output).items():
            if suffix in SKIPPED:
                continue
            kept, stride = thin(tensor)
            self.tensors[name + suffix] = kept
            self.index[name + suffix] = {"frame": self.frame, "shape": list(tensor.shape), "stride": stride}


def record(
    spec: FixtureSpec, model: Sam3VideoModel, processor: Sam3VideoProcessor
) -> tuple[dict[str, Tensor], dict[str, dict]]:
    """The tensors of `layers.safetensors`, and the frame, full shape and stride of each."""
    session = processor.init_video_session(inference_device="cpu", dtype=torch.float32)
    processor.add_text_prompt(session, list(spec.prompts)[:1])
    recorder = Recorder(model)
    try:
        with kernels(installed=False):
            for t in range(N_FRAMES):
                recorder.frame = t
                inputs = processor(images=spec.scene.video[t], device="cpu", return_tensors="pt")
                model(inference_session=session, frame=inputs.pixel_values[0])
    finally:
        recorder.close()
    tensors = recorder.tensors
    tensors["input_ids"] = session.prompt_input_ids[0].clone()
    tensors["attention_mask"] = session.prompt_attention_masks[0].clone()
    return tensors, recorder.index
