"""Attention for training on a CPU.

The backward pass of torch's fused attention takes up to 15 times as long as plain products where there are few queries or
keys, as in the windows of the vision encoder, and twice as long where there are many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Sam3VideoModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "few_keys"
MAX_PRODUCTS = 256 * 1024
"""Queries times keys up to which all rows and heads are one product."""


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Attention of queries [B, heads, q, d] to keys and values [B, heads, k, d]: [B, q, heads, d]."""
    is_causal = options.get("is_causal")
    if getattr(module, "is_causal", True) if is_causal is None else is_causal:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[arg-type]
    query = query * (options.get("scaling") or query.shape[-1] ** -0.5)
    if query.shape[-2] * key.shape[-2] <= MAX_PRODUCTS or attention_mask is not None:
        attended = _attend(query, key, value, attention_mask)
    else:
        heads = zip(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), strict=True)
        attended = torch.stack([_attend(*head, None) for head in heads]).view_as(query)
    return attended.transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return torch.softmax(scores, dim=-1, dtype=query.dtype) @ value


def use(model: Sam3VideoModel) -> None:
    """Let every attention of the model use `attend`."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_attn_implementation"):
            module.config._attn_implementation = NAME
