"""Training images of the detector: a frame with people of other frames pasted in, cropped, mirrored, and recoloured."""

from __future__ import annotations

import string
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from architecture import IMAGE_SIZE, MASK_SIZE
from clips import Clip, choose

PROMPTS = {
    "person": ({"player", "referee", "person"}, ("person", "people", "pedestrian")),
    "player": ({"player"}, ("basketball player", "player", "athlete")),
    "referee": ({"referee"}, ("referee", "official")),
    "ball": ({"ball"}, ("ball", "basketball")),
}
"""What a prompt asks for: kinds of objects, and words for them; the first word is the usual one."""
ABSENT = (
    "dog cat horse sheep cow elephant bear zebra giraffe bird fish airplane boat train umbrella kite skateboard surfboard "
    "bottle cup fork spoon bowl banana apple pizza donut cake chair couch bed toilet laptop mouse keyboard phone oven sink "
    "book clock vase scissors piano guitar snowman tent candle rocket"
).split()
"""Prompts for what is in no training clip."""
REAL_SHARE = 0.4
MIN_VISIBLE = 2.5
"""Smallest target, in pixels of the predicted mask."""
MIN_VISIBLE_BALL = 0.6


@dataclass(frozen=True)
class Sample:
    """`image` [3, S, S] in -1 to 1, and for each of n objects a box (left, top, right, bottom in shares of the image)
    [n, 4] and a mask with shares of covered area [n, M, M]."""

    image: torch.Tensor
    prompt: str
    boxes: torch.Tensor
    masks: torch.Tensor


def make_sample(clips: list[Clip], rng: np.random.Generator) -> Sample:
    """A random sample."""
    clip = choose(clips, REAL_SHARE, rng)
    t = int(rng.integers(len(clip.images)))
    image, labels = np.array(clip.images[t]), clip.labels[t].astype(np.int16)
    kinds = dict(clip.kinds)
    if clip.is_real and rng.random() < 0.3:
        image, labels = clip.background.copy(), np.zeros_like(labels)
    for _ in range(int(rng.integers(1, 6)) if rng.random() < 0.6 else 0):
        _paste(choose(clips, REAL_SHARE, rng), image, labels, kinds, rng)
    image, labels = _crop(image, labels, rng)
    group, prompt = _choose_prompt(clip, rng)
    wanted = PROMPTS[group][0] if group else set()
    boxes, masks = _targets(labels, {label for label, kind in kinds.items() if kind in wanted}, group == "ball")
    return Sample(to_input(_expose(image, rng)), prompt, boxes, masks)


def _choose_prompt(clip: Clip, rng: np.random.Generator) -> tuple[str | None, str]:
    is_game = "player" in clip.kinds.values()
    shares = (0.35, 0.28, 0.13, 0.12, 0.12) if is_game else (0.8, 0.04, 0.04, 0.04, 0.08)
    group = (*PROMPTS, None)[int(rng.choice(5, p=shares))]
    if group is None:
        if rng.random() < 0.3:
            letters = rng.choice(list(string.ascii_lowercase), int(rng.integers(3, 9)))
            return None, "".join(letters)
        return None, str(rng.choice(ABSENT))
    words = PROMPTS[group][1]
    return group, words[0] if rng.random() < 0.7 else str(rng.choice(words))


def _paste(source: Clip, image: np.ndarray, labels: np.ndarray, kinds: dict[int, str], rng: np.random.Generator) -> None:
    """Copy a person of a frame of `source` in front of what is there."""
    t = int(rng.integers(len(source.images)))
    there = [label for label in np.unique(source.labels[t]).tolist() if source.kinds.get(label, "ball") != "ball"]
    if not there:
        return
    label = int(rng.choice(there))
    mask = source.labels[t] == label
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = float(np.exp(rng.normal(0, 0.2)))
    size = max(2, round((right - left) * scale)), max(4, round((bottom - top) * scale))
    height, width = labels.shape
    if size[0] >= width or size[1] >= height:
        return
    part = cv2.resize(mask[top:bottom, left:right].astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    pixels = cv2.resize(source.images[t][top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        part, pixels = part[:, ::-1], pixels[:, ::-1]
    x, y = int(rng.integers(0, width - size[0])), int(rng.integers(0, height - size[1]))
    target = image[y : y + size[1], x : x + size[0]]
    target[part] = np.clip(pixels[part] * rng.uniform(0.75, 1.25, 3), 0, 255).astype(np.uint8)
    new = max(kinds, default=1) + 1
    kinds[new] = source.kinds[label]
    labels[y : y + size[1], x : x + size[0]][part] = new


def _crop(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random part of an image, mirrored half of the time."""
    height, width = labels.shape
    if rng.random() < 0.7:
        scale = rng.uniform(0.55, 1.0)
        wide, high = round(width * scale), round(height * min(1.0, scale * rng.uniform(0.85, 1.18)))
        x, y = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
        image, labels = image[y : y + high, x : x + wide], labels[y : y + high, x : x + wide]
    return (image[:, ::-1], labels[:, ::-1]) if rng.random() < 0.5 else (image, labels)


def _targets(labels: np.ndarray, wanted: set[int], is_ball: bool) -> tuple[torch.Tensor, torch.Tensor]:
    boxes, masks = [], []
    height, width = labels.shape
    for label in np.unique(labels).tolist():
        if label not in wanted:
            continue
        whole = (labels == label).astype(np.float32)
        mask = cv2.resize(whole, (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)
        if mask.sum() < (MIN_VISIBLE_BALL if is_ball else MIN_VISIBLE):
            continue
        rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
        boxes.append([columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height])
        masks.append(mask)
    if not boxes:
        return torch.zeros(0, 4), torch.zeros(0, MASK_SIZE, MASK_SIZE)
    return torch.tensor(boxes, dtype=torch.float32), torch.from_numpy(np.stack(masks))


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other light, colours, contrast, blur and noise; [S, S, 3] f32 in 0 to 255."""
    pixels = resize(np.ascontiguousarray(image)).astype(np.float32)
    if rng.random() < 0.5:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 0.9)))
    pixels = pixels * rng.uniform(0.75, 1.25) * rng.normal(1, 0.05, 3).astype(np.float32) + rng.uniform(-16, 16)
    if rng.random() < 0.25:
        pixels = pixels.mean(axis=-1, keepdims=True) * (share := rng.uniform(0.3, 1)) + pixels * (1 - share)
    if rng.random() < 0.5:
        pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(0, 6)
    return np.clip(pixels, 0, 255)


def resize(image: np.ndarray) -> np.ndarray:
    """An image of any size as [S, S, 3], its aspect ratio lost, as the model sees it."""
    return cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)


def to_input(image: np.ndarray) -> torch.Tensor:
    """Pixels in 0 to 255 [S, S, 3] as the model's input [3, S, S]."""
    return torch.from_numpy((image.astype(np.float32) - 127.5) / 127.5).permute(2, 0, 1).contiguous()
