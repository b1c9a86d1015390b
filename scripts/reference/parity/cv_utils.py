"""CPU stand-in for the CUDA-only kernel package `kernels-community/cv-utils` (v1).

transformers silently skips mask NMS, hole filling and sprinkle removal if it cannot load that package. With this class
in its place, the reference behaves on a CPU as if the package were installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from transformers.models.sam3_video import modeling_sam3_video


class CpuCvUtils:
    """Greedy non-maximum suppression over an IoU matrix, and 8-connected components."""

    @staticmethod
    def generic_nms(
        ious: torch.Tensor, scores: torch.Tensor, threshold: float, use_iou_matrix: bool = True
    ) -> torch.Tensor:
        """Indices that survive: in stable descending order of score, drop what overlaps a survivor by > threshold."""
        kept: list[int] = []
        for i in torch.sort(scores, descending=True, stable=True).indices.tolist():
            if all(float(ious[j, i]) <= threshold for j in kept):
                kept.append(i)
        return torch.tensor(kept, dtype=torch.int64)

    @staticmethod
    def cc_2d(mask: torch.Tensor, get_counts: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and sizes of the components of `mask` [B, 1, H, W], per pixel; 0 on the background."""
        pixels = mask.numpy().astype(bool)
        labels = np.zeros(pixels.shape, np.int32)
        counts = np.zeros(pixels.shape, np.int32)
        for b in range(pixels.shape[0]):
            for n, component in enumerate(_components(pixels[b, 0]), start=1):
                rows, columns = zip(*component, strict=True)
                labels[b, 0, rows, columns] = n
                counts[b, 0, rows, columns] = len(component)
        return torch.from_numpy(labels), torch.from_numpy(counts)


def _components(pixels: np.ndarray) -> Iterator[list[tuple[int, int]]]:
    height, width = pixels.shape
    seen = np.zeros_like(pixels)
    for start in zip(*np.nonzero(pixels), strict=True):
        if seen[start]:
            continue
        seen[start] = True
        stack, component = [start], []
        while stack:
            y, x = stack.pop()
            component.append((y, x))
            for ny in range(max(y - 1, 0), min(y + 2, height)):
                for nx in range(max(x - 1, 0), min(x + 2, width)):
                    if pixels[ny, nx] and not seen[ny, nx]:
                        seen[ny, nx] = True
                        stack.append((ny, nx))
        yield component


@contextlib.contextmanager
def kernels(installed: bool) -> Iterator[None]:
    """Run the reference as if the kernel package were installed (using the class above), or were missing."""
    before = modeling_sam3_video.cv_utils_kernel
    modeling_sam3_video.cv_utils_kernel = CpuCvUtils if installed else False
    try:
        yield
    finally:
        modeling_sam3_video.cv_utils_kernel = before
