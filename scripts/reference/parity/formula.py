"""Tensors by formula: weights and inputs of any size that two programs compute alike without a file.

Element `i` (row-major index) of the tensor called `name`:

    seed = FNV-1a-64(name as UTF-8)                          offset basis 0xcbf29ce484222325, prime 0x100000001b3
    z    = seed + i * 0x9E3779B97F4A7C15                     all arithmetic modulo 2^64
    z    = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z    = (z ^ (z >> 27)) * 0x94D049BB133111EB
    z    =  z ^ (z >> 31)
    u    = f32(z >> 40) * 2^-23 - 1                          24 bits, exact in f32, in [-1, 1)
    x    = offset + scale * u                                two f32 roundings; no addition where offset is 0

(The three `z` lines are splitmix64's output function without its increment.) `scale` and `offset` are stored per tensor
as f32 values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
CHUNK = 1 << 22
SHARPEN = 1.6
"""Gain of query and key weights. At unit gain the softmax over thousands of keys is nearly flat, so that a wrong rotary
embedding or mask would hardly change the output."""


@dataclass(frozen=True)
class Uniform:
    """Name, shape, scale and offset of one tensor."""

    name: str
    shape: tuple[int, ...]
    scale: float
    offset: float = 0.0

    def describe(self) -> dict:
        """The entry in `reference.json`; its numbers are exactly the f32 values that are used."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "scale": float(np.float32(self.scale)),
            "offset": float(np.float32(self.offset)),
        }

    def tensor(self) -> Tensor:
        n = math.prod(self.shape)
        out = np.empty(n, np.float32)
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            out[start:stop] = unit(fnv1a(self.name), start, stop) * np.float32(self.scale)
        if self.offset:
            out += np.float32(self.offset)
        return torch.from_numpy(out).reshape(self.shape)


def fnv1a(text: str) -> int:
    """64-bit FNV-1a of the UTF-8 bytes."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def unit(seed: int, start: int, stop: int) -> np.ndarray:
    """Elements start..stop of the unscaled sequence, f32 in [-1, 1)."""
    with np.errstate(over="ignore"):
        z = np.arange(start, stop, dtype=np.uint64) * np.uint64(GOLDEN) + np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def recipe(case: str, path: str, module: nn.Module, tensor: Tensor) -> Uniform:
    """How to fill the parameter `path` of a case: weights by fan-in, biases 0.05, norm weights around 1."""
    name, shape = f"{case}/{path}", tuple(tensor.shape)
    is_norm = isinstance(module, (nn.LayerNorm, nn.GroupNorm))
    if is_norm and path.endswith("weight"):
        return Uniform(name, shape, 0.05, 1.0)
    if path.endswith("bias"):
        return Uniform(name, shape, 0.05)
    if isinstance(module, nn.ConvTranspose2d):
        return Uniform(name, shape, math.sqrt(3 / shape[0]))
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        sharpen = SHARPEN if path.endswith(("q_proj.weight", "k_proj.weight")) else 1.0
        return Uniform(name, shape, sharpen * math.sqrt(3 / math.prod(shape[1:])))
    return Uniform(name, shape, 1.0)


def fill(case: str, module: nn.Module, only: str = "") -> list[Uniform]:
    """Fill a module's parameters and stored buffers whose path starts with `only`; returns their recipes."""
    recipes = []
    stored = module.state_dict()
    with torch.no_grad():
        for prefix, owner in module.named_modules():
            tensors = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
            for leaf, tensor in tensors:
                path = f"{prefix}.{leaf}" if prefix else leaf
                if path not in stored or not path.startswith(only):
                    continue
                one = recipe(case, path, owner, tensor)
                tensor.copy_(one.tensor())
                recipes.append(one)
    return recipes
