"""Attention that also tells the log-sum-exp of its scores, and what two of them make together.

B pictures, H heads, R query rows, K keys, d channels of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows whose scores the plain fallback holds at a time.
ROWS_AT_ONCE = 512


def attend_with_lse(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Unmasked attention, scores scaled by d**-0.5.

    torch's public attention keeps the log-sum-exp to itself (FlexAttention gives it, but is slow
    unless compiled), so this calls the kernels that it is made of; any other device or shape gets
    plain matrix products.

    Args:
        query: Shape (B, H, R, d).
        key: Shape (B, H, K, d); ``value`` likewise.
    Returns:
        The attention, shape (B, H, R, d), in the query's dtype, and the logarithm of each row's
        sum of exp(score), float32, shape (B, H, R).
    """
    head = query.shape[-1]
    if query.device.type == "cpu":
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, lse = kernel(query, key, value)
    elif query.device.type == "cuda" and query.dtype != torch.float32 and head in (64, 96, 128):
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[:2]
    elif query.device.type == "cuda" and query.dtype == torch.float32 and head % 4 == 0:
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        out, lse = kernel(query, key, value, None, True)[:2]
    else:
        return attend_plainly(query, key, value)
    return out, lse[..., : query.shape[2]].float()  # some kernels round the rows up


def merge(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """The attention to two sets of keys together, from that to each; in the first one's dtype.

    Args:
        first: What ``attend_with_lse`` gave for one set of keys; ``second`` for a disjoint set.
    """
    (out, lse), (other, other_lse) = first, second
    share = torch.sigmoid(other_lse - lse)[..., None]
    return torch.lerp(out.float(), other.float(), share).to(out.dtype)


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """What ``attend_with_lse`` gives, from matrix products: for any device and shape."""
    outs: list[Tensor] = []
    lses: list[Tensor] = []
    for start in range(0, query.shape[2], ROWS_AT_ONCE):
        rows = query[:, :, start : start + ROWS_AT_ONCE]
        scores = (rows @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
        lse = scores.logsumexp(-1)
        lses.append(lse)
        outs.append((scores - lse[..., None]).exp().to(value.dtype) @ value)
    return torch.cat(outs, 2), torch.cat(lses, 2)
