"""Second stage: the memory follows people from a mask in the first frame (Ravi et al. 2024, "SAM 2", section 4).

The vision encoder and the detector do not change. Objects of a window are a batch: the forward pass is that of
`Sam3TrackerVideoModel._run_single_frame_inference`, which runs one object at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import Sam3VideoModel
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import NO_OBJ_SCORE

from architecture import HIDDEN, IMAGE_SIZE, MASK_SIZE, cosine
from clips import Clip
from detector import mask_losses, means
from memory_samples import Window, make_window
from state import Stage, named

LR = 6e-4
SHORT, LONG = 4, 8
"""Frames of a window in the first part of the training, and afterwards."""
SHORT_SHARE = 0.35
N_OBJECTS = 4
MAX_POINTERS = 16
N_MEMORIES = 7
SAVE_EVERY = 50
REPORT_EVERY = 20


class Windows(Dataset):
    """Window i is a function of the seed and i."""

    def __init__(self, folders: list[Path], seed: int, first: int, n: int) -> None:
        self.folders, self.seed, self.first, self.n = folders, seed, first, n
        self.clips: list[Clip] = []

    def __len__(self) -> int:
        return self.n - self.first

    def __getitem__(self, i: int) -> Window:
        self.clips = self.clips or [Clip.open(folder) for folder in self.folders]
        step = self.first + i
        rng = np.random.default_rng((self.seed, 1, step))
        is_short = step < SHORT_SHARE * self.n
        return make_window(self.clips, SHORT if is_short else LONG, 2 * N_OBJECTS if is_short else N_OBJECTS, rng)


@dataclass
class Seen:
    """What the memory keeps of a frame, for n objects: features and positions [G * G, n, 64], and pointers [n, C]."""

    features: Tensor
    positions: Tensor
    pointers: Tensor


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
        self._remember(frame[-1], whole * 20 - 10, torch.full((n,), 10.0), pointers, is_given=True)

    def step(self, t: int, n: int) -> Prediction:
        """Predict frame `t`, and remember the prediction."""
        tracker, frame = self.model.tracker_model, self._frame(t, n)
        used = [0, *range(max(1, t - N_MEMORIES + 1), t)]
        temporal = tracker.memory_temporal_positional_encoding
        # The first frame has the last temporal encoding; the others count back from the current one.
        memory = [self.history[k].features for k in used]
        positions = [self.history[k].positions + temporal[(t - k if k else 0) - 1] for k in used]
        ages = [t, *range(1, min(t, MAX_POINTERS))]
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
        whole = F.interpolate(chosen[:, None].float(), (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False)
        self._remember(frame[-1], whole, score, self._pointers(tokens[rows, best], score), is_given=False)
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

    def _remember(self, features: Tensor, masks: Tensor, score: Tensor, pointers: Tensor, is_given: bool) -> None:
        encoded, positions = self.model.tracker_model._encode_new_memory(
            current_vision_feats=features,
            pred_masks_high_res=masks,
            object_score_logits=score[:, None, None],
            is_mask_from_pts=is_given,
        )
        self.history.append(Seen(encoded, positions, pointers))


def follow(model: Sam3VideoModel, window: Window) -> dict[str, Tensor]:
    """The parts of the loss over a window, and the mean IoU of visible objects."""
    n, n_frames = window.visible.shape
    total: dict[str, Tensor] = {}
    with torch.autocast("cpu", torch.bfloat16):
        follower = Follower.over(model, window.images)
        follower.start(window.first)
        for t in range(1, n_frames):
            prediction = follower.step(t, n)
            for name, value in _losses(prediction, window.masks[:, t], window.visible[:, t]).items():
                total[name] = total.get(name, torch.zeros(())) + value / (n_frames - 1)
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
        with torch.no_grad():
            model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(3.0)
        self.model = model
        parameters = named(model, ("tracker_model.", "tracker_neck."))
        self.stage = Stage(work / "memory.pt", {"model": model}, [{"params": parameters}], LR)

    def run(self, folders: list[Path], n_steps: int, seed: int) -> Iterator[None]:
        """Train up to `n_steps` in all. Yields each time the state was saved."""
        stage, started, recent = self.stage, time.monotonic(), []
        windows = Windows(folders, seed, stage.step, n_steps)
        for window in DataLoader(windows, batch_size=None, num_workers=1, prefetch_factor=4):
            parts = follow(self.model, window)
            iou = parts.pop("iou")
            stage.update(sum(parts.values(), torch.zeros(())), cosine(stage.step, n_steps, warm_up=50))
            recent.append({name: value.item() for name, value in parts.items()} | {"iou": iou.item()})
            if stage.step % REPORT_EVERY == 0 or stage.step == n_steps:
                print(f"memory {stage.step}/{n_steps} {means(recent)} {time.monotonic() - started:.0f} s", flush=True)
                recent.clear()
            if stage.step % SAVE_EVERY == 0 or stage.step == n_steps:
                stage.save()
                yield
