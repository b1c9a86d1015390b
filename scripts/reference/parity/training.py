"""Random initialisation and a few minutes of deliberate overfitting on one clip.

A randomly initialised model never detects or tracks anything, so its association, reconditioning, memory and
suppression paths are never taken. After this the detector exceeds its thresholds on the clip's objects and the
tracker follows them. Nothing here is part of the reference.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTokenizer, Sam3VideoModel
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

from parity.scene import GHOST
from parity.specs import FixtureSpec

DETECTOR_WINDOW = 3
TRACKER_WINDOW = 4
TRACKED_PER_STEP = 2
MIN_AREA = 6  # low-resolution pixels below which a target counts as absent


def initialise(model: Sam3VideoModel) -> None:
    """Initialise by fan-in; with the default standard deviation of 0.02, features are constant.

    The memory attention gets a constant query and key bias: with RoPE its scores then peak at the same cell of
    every memory frame. Without that the tracker does not learn identities in a few hundred steps.
    """
    with torch.no_grad():
        for module in model.modules():
            _initialise_module(module)
        for name, parameter in model.named_parameters():
            _adjust_parameter(name, parameter)


def _initialise_module(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        module.weight.normal_(0, 1 / math.sqrt(module.weight[0].numel()))
    elif isinstance(module, nn.ConvTranspose2d):
        module.weight.normal_(0, 1 / math.sqrt(module.weight.shape[0]))
    elif isinstance(module, nn.Embedding):
        module.weight.normal_(0, 0.5)
    elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        module.weight.normal_(1, 0.05)
        module.bias.normal_(0, 0.05)
        return
    if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and module.bias is not None:
        module.bias.normal_(0, 0.05)


def _adjust_parameter(name: str, p: Tensor) -> None:
    zero_by_default = ("no_memory", "memory_temporal", "no_object_pointer", "occlusion_spatial")
    if any(part in name for part in zero_by_default) or name.endswith((".scale", "position_embeddings")):
        p.normal_(0, 0.3)
    if "mask_embedder.layers.2.weight" in name:
        p.mul_(0.2)
    if "output_hypernetworks" in name and "proj_out.weight" in name:
        p.mul_(0.2)
    if name.endswith(("o_proj.weight", "mlp.fc2.weight", "linear2.weight")):
        p.mul_(0.3)
    if "cross_attn_image.q_proj" in name or "cross_attn_image.k_proj" in name:
        if name.endswith("weight"):
            p.mul_(0.3)
        else:
            p.fill_(4.5)
    if "cross_attn_image.o_proj.weight" in name:
        p.mul_(3.0)
    if "memory_encoder.feature_projection.weight" in name:
        p.mul_(0.1)  # let the mask dominate the memory
    if "mask_downsampler.final_conv.weight" in name or "cross_attn_image.v_proj.weight" in name:
        p.mul_(3.0)
    if name.startswith("tracker_neck.") and name.endswith("proj2.weight"):
        p.mul_(0.3)
    if "mask_downsample.weight" in name:
        p.normal_(0.2, 0.02)


def pixel_values(images: list[np.ndarray], size: int) -> Tensor:
    """Frames as the model's input, resized in floating point (the processor's u8 resizer is not needed here)."""
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return (F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False) - 127.5) / 127.5


def low_res(mask: np.ndarray, size: int) -> Tensor:
    """A source mask as a binary [size, size] f32 mask."""
    x = torch.from_numpy(mask).float()[None, None]
    x = F.interpolate(x, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return (x[0, 0] > 0.5).float()


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy plus dice."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target)
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * target).sum() + 1) / (probability.sum() + target.sum() + 1)
    return 2 * cross_entropy + dice


class Targets:
    """The clip's low-resolution target masks, and which of them the detector should report."""

    def __init__(self, spec: FixtureSpec) -> None:
        self.spec = spec
        self.masks = {
            name: [low_res(spec.scene.target_mask(name, t), spec.mask_size) for t in range(spec.scene.n_frames)]
            for name in spec.targets
        }

    def visible(self, name: str, t: int) -> bool:
        return bool(self.masks[name][t].sum() > MIN_AREA)

    def detectable(self, name: str, t: int) -> bool:
        return self.spec.scene.frames[t].marker if name == GHOST else self.visible(name, t)

    def tracked(self, name: str, t: int) -> Tensor:
        """The mask that the tracker should predict."""
        if t in self.spec.amodal.get(name, ()):
            return low_res(self.spec.scene.whole_mask(name, t), self.spec.mask_size)
        return self.masks[name][t]


def _optimiser(
    parameters: list[nn.Parameter], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-4)

    def factor(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return min(1.0, step / 20) * (0.97 * cosine + 0.03)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _step(
    loss: Tensor,
    parameters: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimiser.step()
    schedule.step()


def train_detector(model: Sam3VideoModel, tokenizer: CLIPTokenizer, spec: FixtureSpec) -> None:
    """Train each query on its object. The assignment is fixed, so no matching is needed."""
    rng = np.random.default_rng(7)
    detector, targets = model.detector_model, Targets(spec)
    parameters = list(model.parameters())
    optimiser, schedule = _optimiser(parameters, spec.detector_steps)
    encoded = {p: tokenizer(p, return_tensors="pt", padding="max_length", max_length=32) for p in spec.prompts}
    prompts = list(spec.prompts)
    started = time.monotonic()
    for step in range(spec.detector_steps):
        first = rng.integers(0, spec.scene.n_frames - DETECTOR_WINDOW + 1) if rng.random() > 0.3 else 0
        frames = list(range(first, first + DETECTOR_WINDOW))
        pixels = pixel_values([spec.scene.frames[t].image for t in frames], spec.image_size)
        prompt = prompts[step % len(prompts)]
        out = detector(
            vision_embeds=detector.get_vision_features(pixel_values=pixels),
            input_ids=encoded[prompt].input_ids.expand(len(frames), -1),
            attention_mask=encoded[prompt].attention_mask.expand(len(frames), -1),
        )
        loss = _detector_loss(out, spec, targets, prompt, frames)
        _step(loss, parameters, optimiser, schedule)
        if step % 20 == 0 or step == spec.detector_steps - 1:
            print(f"detector {step} loss {loss.item():.3f} {time.monotonic() - started:.0f}s", flush=True)


def _detector_loss(out: object, spec: FixtureSpec, targets: Targets, prompt: str, frames: list[int]) -> Tensor:
    loss = torch.zeros(())
    wanted = torch.zeros(out.pred_logits.shape)
    for i, t in enumerate(frames):
        found = False
        for slot in spec.prompts[prompt]:
            if not targets.detectable(slot.target, t):
                continue
            found = True
            mask = targets.masks[slot.target][t]
            wanted[i, slot.query] = slot.score
            ys, xs = torch.where(mask > 0)
            box = torch.stack([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / spec.mask_size
            loss = loss + 0.5 * mask_loss(out.pred_masks[i, slot.query], mask)
            loss = loss + (out.pred_boxes[i, slot.query] - box).abs().mean()
        presence = torch.tensor(0.99 if found else 0.02)
        loss = loss + 0.3 * F.binary_cross_entropy_with_logits(out.presence_logits[i, 0], presence)
    return loss / len(frames) + 3 * F.binary_cross_entropy_with_logits(out.pred_logits, wanted)


class _VisionOutput:
    """Replaces the detector's vision output; the tracker reads only the ViT's last state."""

    def __init__(self, last_hidden_state: Tensor) -> None:
        self.last_hidden_state = last_hidden_state


def train_tracker(model: Sam3VideoModel, spec: FixtureSpec) -> None:
    """Train `tracker_model` and `tracker_neck` to follow any target; the ViT and the detector stay unchanged."""
    rng = np.random.default_rng(11)
    tracker, targets = model.tracker_model, Targets(spec)
    parameters = [*tracker.parameters(), *model.tracker_neck.parameters()]
    backbone = model.detector_model.vision_encoder.backbone
    with torch.no_grad():
        tracker.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3.0)
        images = [pixel_values([frame.image], spec.image_size) for frame in spec.scene.frames]
        features = torch.cat([backbone(x).last_hidden_state for x in images])
    optimiser, schedule = _optimiser(parameters, spec.tracker_steps)
    started, recent = time.monotonic(), []
    for step in range(spec.tracker_steps):
        first = int(rng.integers(0, spec.scene.n_frames - TRACKER_WINDOW + 1))
        frames = list(range(first, first + TRACKER_WINDOW))
        candidates = [name for name in spec.targets if targets.visible(name, first)]
        chosen = [candidates[i] for i in rng.permutation(len(candidates))[:TRACKED_PER_STEP]]
        vision = model.get_vision_features_for_tracker(_VisionOutput(features[first : first + TRACKER_WINDOW]))
        loss = sum(_follow(tracker, vision, targets, name, frames) for name in chosen)
        loss = loss / TRACKED_PER_STEP / (TRACKER_WINDOW - 1)
        _step(loss, parameters, optimiser, schedule)
        recent.append(loss.item())
        if step % 20 == 0 or step == spec.tracker_steps - 1:
            print(f"tracker {step} loss {np.mean(recent[-20:]):.3f} {time.monotonic() - started:.0f}s", flush=True)


def _follow(
    tracker: nn.Module, vision: tuple[list[Tensor], list[Tensor]], targets: Targets, name: str, frames: list[int]
) -> Tensor:
    """The loss of following one target through `frames`, given its mask on the first one."""
    session = Sam3VideoInferenceSession(video=torch.zeros(len(frames), 3, 1, 1), dtype=torch.float32)
    session.obj_with_new_inputs = []
    obj_idx = session.obj_id_to_idx(0)
    loss = torch.zeros(())
    for i, t in enumerate(frames):
        features, positions = ([level[:, i : i + 1] for level in part] for part in vision)
        session.cache._vision_features = {i: {"vision_feats": features, "vision_pos_embeds": positions}}
        mask = targets.tracked(name, t)
        first = i == 0
        out = tracker._run_single_frame_inference(
            session, i, obj_idx, 1, first, None, mask[None, None] if first else None, False
        )
        session.store_output(obj_idx, i, output_value=out, is_conditioning_frame=first)
        if not first:
            visible = bool(mask.sum() > MIN_AREA)
            if visible:
                loss = loss + mask_loss(out["pred_masks"][0, 0].clamp(min=-30), mask)
            presence = torch.tensor(0.99 if visible else 0.02)
            score = out["object_score_logits"].flatten()[0]
            loss = loss + 0.3 * F.binary_cross_entropy_with_logits(score, presence)
        scores = [out["object_score_logits"].reshape(1, 1)]
        tracker._batch_encode_memories(session, i, [obj_idx], [out["high_res_masks"]], scores, [first])
    return loss
