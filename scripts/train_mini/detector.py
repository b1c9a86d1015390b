"""First stage: the detector, with Hungarian matching on all decoder layers (Carion et al. 2020, "DETR", section 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from transformers import CLIPTokenizer, Sam3VideoModel
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

from architecture import GRID, HIDDEN, N_QUERIES
from clips import Clip
from detector_samples import Sample, make_sample
from state import Loss, Schedule, Stage, named

BATCH = 4
LR = 8e-4
FREQUENCIES = (1, 2, 4, 8)
CODE_SIZE = 4 * len(FREQUENCIES) + 2


def make_batch(clips: list[Clip], step: int, seed: int) -> list[Sample]:
    rng = np.random.default_rng((seed, step))
    return [make_sample(clips, rng) for _ in range(BATCH)]


class InstanceCodes(nn.Module):
    """Two heads for the training only, which predict for every pixel and cell whose person it shows.

    The code of a person is its box: Fourier features of the centre, and width and height. To predict it, features must
    differ between people; without this loss the masks of neighbours do not separate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(HIDDEN, CODE_SIZE, 1)
        self.cells = nn.Linear(HIDDEN, CODE_SIZE)

    def forward(self, pixels: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """From pixel embeddings [B, C, M, M] and encoder output [B, G * G, C] to codes [B, K, M, M] and [B, K, G, G]."""
        return self.pixels(pixels.float()), self.cells(cells.float()).transpose(1, 2).unflatten(-1, (GRID, GRID))


def codes_of(boxes: Tensor) -> Tensor:
    """The codes [n, K] of boxes [n, 4]."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = (boxes[:, 2:] - boxes[:, :2]) * torch.tensor([10.0, 4.0])
    angles = torch.cat([2 * math.pi * k * centre for k in FREQUENCIES], dim=-1)
    return torch.cat([angles.sin(), angles.cos(), size], dim=-1)


@dataclass
class Output:
    """`boxes` [L, B, Q, 4] and `logits` [L, B, Q] of every decoder layer; of the last one `masks` [B, Q, M, M]; `presence`
    logits [L, B]; `semantic` logits [B, M, M]; `pixels` and `cells` are features for the instance codes."""

    boxes: Tensor
    logits: Tensor
    presence: Tensor
    masks: Tensor
    semantic: Tensor
    pixels: Tensor
    cells: Tensor


class Detector:
    """Runs the parts of the detector as `Sam3Model.forward` does, and keeps what its output leaves out."""

    def __init__(self, model: Sam3VideoModel, words: CLIPTokenizer) -> None:
        self.model, self.words = model.detector_model, words
        self.pixels: Tensor | None = None
        self.model.mask_decoder.instance_projection.register_forward_pre_hook(self._keep_pixels)

    def _keep_pixels(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.pixels = inputs[0]

    def __call__(self, images: Tensor, prompts: list[str]) -> Output:
        model = self.model
        encoded = self.words(prompts, return_tensors="pt", padding="max_length", max_length=32)
        valid = encoded.attention_mask.bool()
        with torch.autocast("cpu", torch.bfloat16):
            vision = model.vision_encoder(images)
            features, positions = vision.fpn_hidden_states[:-1], vision.fpn_position_encoding[:-1]
            text = model.get_text_features(
                input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, return_dict=True
            ).pooler_output
            encoder = model.detr_encoder(
                vision_features=[features[-1]], text_features=text, vision_pos_embeds=[positions[-1]], text_mask=valid
            )
            decoder = model.detr_decoder(
                vision_features=encoder.last_hidden_state,
                text_features=encoder.text_features,
                vision_pos_encoding=encoder.pos_embeds_flattened,
                text_mask=valid,
                spatial_shapes=encoder.spatial_shapes,
            )
            queries = decoder.intermediate_hidden_states
            offsets = model.detr_decoder.box_head(queries)
            logits = model.dot_product_scoring(
                decoder_hidden_states=queries, text_features=encoder.text_features, text_mask=valid
            )
            masks = model.mask_decoder(
                decoder_queries=queries[-1],
                backbone_features=list(features),
                encoder_hidden_states=encoder.last_hidden_state,
                prompt_features=text,
                prompt_mask=valid,
            )
        boxes = (inverse_sigmoid(decoder.reference_boxes.float()) + offsets.float()).sigmoid()
        assert self.pixels is not None
        return Output(
            boxes=box_cxcywh_to_xyxy(boxes),
            logits=logits.float().squeeze(-1),
            presence=decoder.presence_logits.float().reshape(len(boxes), len(images)),
            masks=masks.pred_masks.float(),
            semantic=masks.semantic_seg.float()[:, 0],
            pixels=self.pixels,
            cells=encoder.last_hidden_state,
        )


def mask_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Five times the cross-entropy plus dice for each mask [n] of logits and covered shares [n, M, M]."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((-2, -1))
    shares = logits.sigmoid()
    overlap = 2 * (shares * targets).sum((-2, -1)) + 1
    return 5 * cross_entropy + 1 - overlap / (shares.sum((-2, -1)) + targets.sum((-2, -1)) + 1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and its generalised form (Rezatofighi et al. 2019), of boxes that broadcast [..., 4]."""
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=1e-6).prod(-1)
    union = _area(a) + _area(b) - inner
    iou = inner / union.clamp(min=1e-6)
    return iou, iou - (outer - union) / outer


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def losses(out: Output, codes: tuple[Tensor, Tensor], batch: list[Sample]) -> dict[str, Tensor]:
    """The parts of the loss, weighted, and the share of objects that are `found` (IoU over 0.5)."""
    n_objects = max(1, sum(len(sample.boxes) for sample in batch))
    total: dict[str, Tensor] = {}

    def add(name: str, value: Tensor, share: int) -> None:
        total[name] = total.get(name, torch.zeros(())) + value / share

    for i, sample in enumerate(batch):
        present = torch.tensor(float(len(sample.boxes) > 0)).expand(len(out.presence))
        add("presence", F.binary_cross_entropy_with_logits(out.presence[:, i], present), len(batch))
        union = sample.masks.amax(0) if len(sample.boxes) else torch.zeros_like(out.semantic[i])
        if len(sample.boxes):
            add("semantic", 2 * mask_losses(out.semantic[i][None], union[None])[0], len(batch))
            add("code", 1.5 * _code_loss(codes[0][i], sample.masks, sample.boxes), len(batch))
            cells = F.avg_pool2d(sample.masks[None], sample.masks.shape[-1] // GRID)[0]
            add("code", 1.5 * _code_loss(codes[1][i], cells, sample.boxes), len(batch))
        else:
            add("semantic", 2 * F.binary_cross_entropy_with_logits(out.semantic[i], union), len(batch))
        for layer in range(len(out.boxes)):
            boxes, logits = out.boxes[layer, i], out.logits[layer, i]
            wanted = torch.zeros(N_QUERIES)
            if len(sample.boxes):
                queries, objects, iou, generalised = _match(boxes, logits, sample.boxes)
                wanted[queries] = iou.detach().clamp(0.3, 1).sqrt()
                distance = (boxes[queries] - sample.boxes[objects]).abs().sum(-1)
                add("box", (5 * distance + 2 * (1 - generalised)).sum(), n_objects)
                if layer == len(out.boxes) - 1:
                    add("mask", 2 * mask_losses(out.masks[i, queries], sample.masks[objects]).sum(), n_objects)
                    add("found", (iou.detach() > 0.5).float().sum(), n_objects)
            # Focal for what is not an object (Lin et al. 2017).
            weight = torch.where(wanted > 0, 1.0, 0.75 * logits.detach().sigmoid() ** 2)
            entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            add("class", 2 * (weight * entropy).sum(), n_objects)
    return total


def _match(boxes: Tensor, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries and objects of the cheapest assignment, with their overlaps."""
    iou, generalised = overlaps(boxes[:, None], targets[None])
    cost = 5 * torch.cdist(boxes, targets, p=1) - 2 * generalised - 2 * logits.sigmoid()[:, None]
    rows, columns = linear_sum_assignment(cost.detach().numpy())
    queries, objects = torch.from_numpy(rows), torch.from_numpy(columns)
    return queries, objects, iou[queries, objects], generalised[queries, objects]


def _code_loss(predicted: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    """How far codes [K, h, w] are from those of the objects, where masks [n, h, w] cover the place."""
    cover = masks.sum(0)
    wanted = torch.einsum("nhw,nk->khw", masks, codes_of(boxes)) / cover.clamp(min=1e-6)
    there = (cover > 0.3).float()
    loss = F.smooth_l1_loss(predicted, wanted, reduction="none", beta=0.2).sum(0)
    return (loss * there).sum() / there.sum().clamp(min=1)


class DetectorTraining:
    """The first stage; made again with the same folders, it continues."""

    def __init__(self, model: Sam3VideoModel, words: CLIPTokenizer, work: Path) -> None:
        self.detector, self.codes = Detector(model, words), InstanceCodes()
        parameters = named(model, ("detector_model.",), without=("geometry_encoder", "text_projection"))
        self.stage = Stage(
            work / "detector.pt",
            {"model": model, "codes": self.codes},
            [{"params": parameters}, {"params": list(self.codes.parameters())}],
            LR,
        )

    def run(self, folders: list[Path], n_steps: int, seed: int) -> Iterator[None]:
        """Train up to `n_steps` in all. Yields each time the state was saved."""
        schedule = Schedule(n_steps, warm_up=100, report_every=50, save_every=100)
        return self.stage.run(folders, partial(make_batch, seed=seed), self._loss, schedule)

    def _loss(self, batch: list[Sample]) -> Loss:
        out = self.detector(torch.stack([sample.image for sample in batch]), [sample.prompt for sample in batch])
        parts = losses(out, self.codes(out.pixels, out.cells), batch)
        return Loss(parts, {name: parts.pop(name) for name in ("found",) if name in parts})
