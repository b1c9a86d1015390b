"""Attention for training on a CPU.

The backward pass of torch's fused attention takes up to 15 times as long as plain products where there are few queries or
keys, as in the windows of the vision encoder. Where there are many of both, the fused one is as fast, and saves memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, Sam3VideoModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "few_keys"
MAX_PRODUCTS = 256 * 1024
"""Queries times keys up to which plain products are used."""


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: object
) -> tuple[Tensor, None]:
    """Attention of queries [B, heads, q, d] to keys and values [B, heads, k, d]: [B, q, heads, d]."""
    few = query.shape[-2] * key.shape[-2] <= MAX_PRODUCTS
    is_causal = options.get("is_causal")
    if not few or (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[arg-type]
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale
    if attention_mask is not None:
        is_bool = attention_mask.dtype == torch.bool
        scores = scores.masked_fill(~attention_mask, -torch.inf) if is_bool else scores + attention_mask
    shares = torch.softmax(scores, dim=-1, dtype=query.dtype)
    return (shares @ value).transpose(1, 2).contiguous(), None


def use(model: Sam3VideoModel) -> None:
    """Let every attention of the model use `attend`."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    for module in model.modules():
        if hasattr(getattr(module, "config", None), "_attn_implementation"):
            module.config._attn_implementation = NAME
