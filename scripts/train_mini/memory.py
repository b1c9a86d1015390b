"""Second stage: the memory follows people from a mask in the first frame (Ravi et al. 2024, "SAM 2", section 4).

The vision encoder and the detector do not change. Objects of a window are a batch: the forward pass is that of
`Sam3TrackerVideoModel._run_single_frame_inference`, which runs one object at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Sam3VideoModel
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import NO_OBJ_SCORE

from architecture import HIDDEN, IMAGE_SIZE, MASK_SIZE
from clips import Clip
from detector import mask_losses
from memory_samples import Window, make_window
from state import Loss, Schedule, Stage, named

LR = 6e-4
SHORT, LONG = 4, 8
"""Frames of a window in the first part of the training, and afterwards."""
SHORT_SHARE = 0.35
MAX_FREE = 8
"""Frames that may come before a window, followed without gradients."""
N_OBJECTS = 4
MAX_POINTERS = 16
N_MEMORIES = 7
MAX_CONDITIONING = 4


def make_batch(clips: list[Clip], step: int, seed: int, n_steps: int) -> Window:
    rng = np.random.default_rng((seed, 1, step))
    if step < SHORT_SHARE * n_steps:
        return make_window(clips, SHORT, 0, 2 * N_OBJECTS, rng)
    n_free = int(rng.integers(MAX_FREE + 1))
    return make_window(clips, LONG + n_free, n_free, N_OBJECTS, rng)


@dataclass
class Seen:
    """What the memory keeps of a frame, for n objects: features and positions [G * G, n, 64], and pointers [n, C]."""

    features: Tensor
    positions: Tensor
    pointers: Tensor
    is_conditioning: bool


@dataclass
class Prediction:
    """`masks` [n, 3, M, M] and their predicted `quality` [n, 3]; `score` [n] that the object is visible."""

    masks: Tensor
    quality: Tensor
    score: Tensor


@dataclass
class Follower:
    """Follows n objects through the frames of a window."""

    model: Sam3VideoModel
    features: list[Tensor]
    """Of each level [h * w, T, C]."""
    position: Tensor
    """Of the coarsest level [G * G, C]."""
    history: list[Seen] = field(default_factory=list)

    @classmethod
    def over(cls, model: Sam3VideoModel, images: Tensor) -> Follower:
        with torch.no_grad():
            hidden = model.detector_model.vision_encoder.backbone(images)
        features, positions = model.get_vision_features_for_tracker(hidden)
        return cls(model, features, positions[-1][:, 0])

    def start(self, masks: Tensor) -> None:
        """Remember masks [n, M, M] in the first frame (`_use_mask_as_output`)."""
        tracker, n = self.model.tracker_model, len(masks)
        whole = F.interpolate(masks[:, None], (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
        prompt = F.interpolate(
            tracker.mask_downsample(whole).float(), (MASK_SIZE, MASK_SIZE), mode="bilinear", antialias=True
        )
        frame = self._frame(0, n)
        prediction, tokens, score = self._decode(frame, self._as_map(frame[-1]), prompt)
        best = prediction.quality.argmax(dim=-1)
        pointers = self._pointers(tokens[torch.arange(n), best], score)
        self._remember(frame[-1], whole * 20 - 10, torch.full((n,), 10.0), pointers, is_given=True, is_conditioning=True)

    def step(self, t: int, n: int, detected: Tensor | None) -> Prediction:
        """Predict frame `t`, and remember the prediction or, where there is one, the detected mask [n, M, M]."""
        tracker, frame = self.model.tracker_model, self._frame(t, n)
        conditioning = [k for k, seen in enumerate(self.history) if seen.is_conditioning]
        nearest = conditioning[-MAX_CONDITIONING:]
        recent = [k for k in range(max(0, t - N_MEMORIES + 1), t) if k not in nearest]
        temporal = tracker.memory_temporal_positional_encoding
        # Conditioning frames have the last temporal encoding; the others count back from the current one.
        memory = [self.history[k].features for k in nearest + recent]
        positions = [self.history[k].positions + temporal[-1] for k in nearest]
        positions += [self.history[k].positions + temporal[t - k - 1] for k in recent]
        ages = [t - k for k in conditioning]
        ages += [age for age in range(1, min(t, MAX_POINTERS)) if t - age not in conditioning]
        pointers, pointer_positions = tracker._process_object_pointers(
            ages, [self.history[t - age].pointers for age in ages], MAX_POINTERS, n, HIDDEN, memory[0].device
        )
        attended = tracker.memory_attention(
            current_vision_features=frame[-1],
            current_vision_position_embeddings=self.position[:, None],
            memory=torch.cat([*memory, pointers]),
            memory_posision_embeddings=torch.cat([*positions, pointer_positions]),
            num_object_pointer_tokens=len(pointers),
        )
        prediction, tokens, score = self._decode(frame, self._as_map(attended[0].transpose(0, 1)), None)
        best = prediction.quality.argmax(dim=-1)
        rows = torch.arange(n)
        chosen = torch.where((score > 0)[:, None, None], prediction.masks[rows, best], NO_OBJ_SCORE)
        if detected is not None:
            # Masks of 0 and 1 in the place of logits, as `_prepare_recondition_masks` gives them.
            chosen = torch.where(detected.any(dim=(-2, -1), keepdim=True), detected, chosen)
        whole = F.interpolate(chosen[:, None].float(), (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)
        visible = (chosen > 0).any(dim=(-2, -1)).float() * 20 - 10
        pointers = self._pointers(tokens[rows, best], score)
        self._remember(frame[-1], whole, visible, pointers, is_given=False, is_conditioning=detected is not None)
        return prediction

    def _frame(self, t: int, n: int) -> list[Tensor]:
        """The features of every level of a frame for n objects [h * w, n, C]."""
        return [level[:, t : t + 1].expand(-1, n, -1) for level in self.features]

    @staticmethod
    def _as_map(features: Tensor) -> Tensor:
        """[h * w, n, C] as [n, C, h, w]."""
        side = round(len(features) ** 0.5)
        return features.permute(1, 2, 0).unflatten(-1, (side, side))

    def _decode(self, frame: list[Tensor], image: Tensor, prompt: Tensor | None) -> tuple[Prediction, Tensor, Tensor]:
        """The prediction, the output tokens [n, 3, C] and the scores [n] from conditioned features [n, C, G, G]."""
        tracker, n = self.model.tracker_model, len(image)
        sparse, dense = tracker.prompt_encoder(
            input_points=torch.zeros(n, 1, 1, 2),
            input_labels=-torch.ones(n, 1, 1, dtype=torch.int32),
            input_boxes=None,
            input_masks=prompt,
        )
        masks, quality, tokens, score = tracker.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=tracker.get_image_wide_positional_embeddings().expand(n, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=[self._as_map(level) for level in frame[:-1]],
        )
        flat_score = score.float().reshape(n)
        return Prediction(masks[:, 0].float(), quality[:, 0].float(), flat_score), tokens[:, 0], flat_score

    def _pointers(self, tokens: Tensor, score: Tensor) -> Tensor:
        """Object pointers [n, C] of the output tokens of the chosen masks [n, C]."""
        tracker, there = self.model.tracker_model, (score > 0).float()[:, None]
        return there * tracker.object_pointer_proj(tokens) + (1 - there) * tracker.no_object_pointer

    def _remember(
        self, features: Tensor, masks: Tensor, score: Tensor, pointers: Tensor, *, is_given: bool, is_conditioning: bool
    ) -> None:
        encoded, positions = self.model.tracker_model._encode_new_memory(
            current_vision_feats=features,
            pred_masks_high_res=masks,
            object_score_logits=score[:, None, None],
            is_mask_from_pts=is_given,
        )
        self.history.append(Seen(encoded, positions, pointers, is_conditioning))


def follow(model: Sam3VideoModel, window: Window) -> dict[str, Tensor]:
    """The parts of the loss over a window, and the mean IoU of visible objects."""
    n, n_frames = window.visible.shape
    total: dict[str, Tensor] = {}
    with torch.autocast("cpu", torch.bfloat16):
        follower = Follower.over(model, window.images)
        with torch.set_grad_enabled(window.n_free == 0):
            follower.start(window.detected[0])
        for t in range(1, n_frames):
            with torch.set_grad_enabled(t > window.n_free):
                prediction = follower.step(t, n, window.detected.get(t))
            if t <= window.n_free:
                continue
            for name, value in _losses(prediction, window.masks[:, t], window.visible[:, t]).items():
                total[name] = total.get(name, torch.zeros(())) + value / (n_frames - 1 - window.n_free)
    return total


def _losses(prediction: Prediction, masks: Tensor, visible: Tensor) -> dict[str, Tensor]:
    """Of the three masks, the best one is trained, and the predicted quality of all of them."""
    n = len(masks)
    wanted = masks[:, None].expand_as(prediction.masks)
    per_mask = mask_losses(prediction.masks.clamp(min=-30).flatten(0, 1), wanted.flatten(0, 1)).view(n, -1)
    with torch.no_grad():
        found, truth = prediction.masks > 0, wanted > 0.5
        iou = (found & truth).sum((-2, -1)) / (found | truth).sum((-2, -1)).clamp(min=1)
    there = visible.float()
    chosen = iou[torch.arange(n), prediction.quality.argmax(dim=-1)]
    entropy = F.binary_cross_entropy_with_logits(prediction.score, 0.02 + 0.97 * there)
    return {
        "mask": (per_mask.amin(dim=-1) * there).sum() / n,
        "quality": ((prediction.quality - iou).abs().mean(dim=-1) * there).sum() / n,
        "score": 0.5 * entropy,
        "iou": (chosen * there).sum() / there.sum().clamp(min=1),
    }


class MemoryTraining:
    """The second stage; made again with the same folders, it continues."""

    def __init__(self, model: Sam3VideoModel, work: Path) -> None:
        self.model = model
        parameters = named(model, ("tracker_model.", "tracker_neck."))
        self.stage = Stage(work / "memory.pt", {"model": model}, [{"params": parameters}], LR)

    def run(self, folders: list[Path], n_steps: int, seed: int) -> Iterator[None]:
        """Train up to `n_steps` in all. Yields each time the state was saved."""
        schedule = Schedule(n_steps, warm_up=50, report_every=20, save_every=50)
        return self.stage.run(folders, partial(make_batch, seed=seed, n_steps=n_steps), self._loss, schedule)

    def _loss(self, window: Window) -> Loss:
        parts = follow(self.model, window)
        return Loss(parts, {"iou": parts.pop("iou")})
