"""Attention to several prompts, each pixel's results added up by the prompts' weights.

Shapes: batch inputs of the U-Net, each with its rows of text, one or more; L text tokens; S image
tokens; heads of D channels.

Both ways compute the same up to rounding. What is joined is several times faster on a CPU, where
the sum over the prompts becomes part of a matrix product and the scores stay in the processor's
cache. Elsewhere torch's attention kernels hold no scores at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

MOST_ROWS = 16
"""Rows of whole pictures that one attention call may span; more go piece by piece. It bounds the
memory that many instances take."""
SCORES = 2**17
"""Scores that a thread holds at a time where rows are joined: half a megabyte, measured best."""


def fused_attention(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, counts: Sequence[int]
) -> Tensor:
    """Sum of weight * softmax(query keys^T / sqrt(D)) values over the rows of each input.

    Args:
        query: Shape (batch, heads, S, D).
        keys: Shape (rows, heads, L, D), input after input; ``values`` likewise.
        weights: How much a row counts at each image token, shape (rows, S); 1 where an input has
            one row only.
        counts: How many rows each input has.
    Returns:
        Shape (batch, heads, S, D).
    """
    # A gradient needs what joining overwrites; half precision has no fast matrix products there.
    if query.device.type == "cpu" and query.dtype == torch.float32 and not query.requires_grad:
        return _joined(query, keys, values, weights, counts)
    return _row_by_row(query, keys, values, weights, counts)


def heads_first(tokens: Tensor) -> Tensor:
    """Text of shape (rows, heads, L, D), laid out so that a head's rows follow one another."""
    return tokens.transpose(0, 1).contiguous().transpose(0, 1)


def _row_by_row(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, counts: Sequence[int]
) -> Tensor:
    batch, tokens, rows = query.shape[0], query.shape[2], list(counts)
    shares = weights[:, None, :, None]
    # The stock processor needs a batch's worth of memory anyway.
    size = max(1, tokens * max(MOST_ROWS, batch) // len(keys))
    fused: list[Tensor] = []
    # An image token attends on its own, so pieces of the picture give the same.
    for some, own in zip(query.split(size, 2), shares.split(size, 2), strict=True):
        asked = [
            one.expand(count, -1, -1, -1) for one, count in zip(some.split(1), rows, strict=True)
        ]
        out = scaled_dot_product_attention(torch.cat(asked), keys, values) * own
        fused.append(torch.stack([part.sum(0) for part in out.split(rows)]))
    return torch.cat(fused, 2) if len(fused) > 1 else fused[0]


def _joined(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, counts: Sequence[int]
) -> Tensor:
    batch, heads, tokens, width = query.shape
    # In the order in which the layer's last projection reads it.
    fused = query.new_empty(batch, tokens, heads, width).transpose(1, 2)
    rows = list(counts)
    parts = (keys.split(rows), values.split(rows), weights.split(rows))
    for one, target, own_keys, own_values, shares in zip(query, fused, *parts, strict=True):
        # A row's softmax ends before its neighbour's begins: (heads, rows, L, D) as one text.
        key, value = (part.transpose(0, 1).flatten(1, 2) for part in (own_keys, own_values))
        _attend_joined(one, key * width**-0.5, value, shares, target)
    return fused


def _attend_joined(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor, target: Tensor
) -> None:
    """Write one input's attention, shape (heads, S, D), into ``target``, piece by piece.

    Args:
        query: Shape (heads, S, D).
        key: Scaled keys of all R rows, shape (heads, R * L, D); ``value`` likewise, unscaled.
        weights: Shape (R, S).
    """
    heads, tokens, _ = query.shape
    rows, keys = len(weights), key.shape[1]
    shares = weights.t().contiguous()[..., None]
    room = SCORES * torch.get_num_threads()
    size = max(1, min(tokens, room // keys))
    together = max(1, room // (size * keys))
    for some in _pieces(heads, together):
        for place in _pieces(tokens, size):
            scores = query[some, place] @ key[some].transpose(1, 2)
            share = scores.unflatten(-1, (rows, -1)).softmax(-1)
            if rows > 1:
                share *= shares[place]
            torch.bmm(share.flatten(2), value[some], out=target[some, place])


def _pieces(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]
