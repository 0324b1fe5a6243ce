"""The plan as a block mask for FlexAttention.

The caller arranges the image tokens cell by cell at the model's input (``order``), so that most
blocks of queries and keys are permitted or forbidden as a whole: the forbidden ones cost nothing
and the permitted ones need no mask.

B pictures, H heads, S tokens, d channels of a head, K blocks of tokens, C cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_controls import Bools
from threedis_core.attention.joint_plan import JointPlan

BLOCK = 128
# The table of permissions is padded to a multiple of this many cells, so that layouts of different
# cells share one compiled kernel.
CELLS = 256

Kernel = Callable[..., Tensor]


class BlockMaskAttention(JointAttention):
    """FlexAttention, compiled once for all phases, layers and steps.

    On CUDA the compiler makes one kernel of it. Elsewhere it runs operation by operation, which is
    right but holds all the scores at once: there it serves to check results, not to save time.

    Args:
        plans: One per picture, of one size.
        controls: The controls that are on.
        device: Where the queries will be.
        dtype: Theirs; nothing here depends on it.
        kernel: FlexAttention to call; None picks it by the device.
    """

    lowering = "block_mask"

    def __init__(
        self,
        plans: Sequence[JointPlan],
        controls: frozenset[str],
        device: torch.device,
        dtype: torch.dtype,
        kernel: Kernel | None = None,
    ) -> None:
        super().__init__(len(plans), plans[0].tokens)
        self._kernel = kernel or _kernel(device.type)
        orders = np.stack([image_order(plan) for plan in plans])
        labels = np.stack([_ordered_labels(plan) for plan in plans])
        permissions = [plan.permissions(controls) for plan in plans]
        self._labels = torch.as_tensor(labels.astype(np.int32), device=device)
        self._table = torch.as_tensor(_table(permissions), device=device)
        self._order = self.order = torch.as_tensor(orders, device=device)
        blocks = [_blocks(*pair) for pair in zip(labels, permissions, strict=True)]
        partial, full = (np.stack(part) for part in zip(*blocks, strict=True))
        self.block_mask = BlockMask.from_kv_blocks(
            *_listed(partial, device),
            *_listed(full, device),
            BLOCK_SIZE=BLOCK,
            mask_mod=_mask_mod(self._labels, self._table),
            seq_lengths=(self.tokens, self.tokens),
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Do the attention; the image tokens are in ``order``."""
        return self._kernel(query, key, value, block_mask=self.block_mask)

    def tensors(self) -> Iterable[Tensor]:
        """The order, the cells and the lists of blocks."""
        blocks = [part for part in vars(self.block_mask).values() if isinstance(part, Tensor)]
        return [self._order, self._labels, self._table, *blocks]


@cache
def _kernel(device_type: str) -> Kernel:
    """FlexAttention, traced once: left alone it traces itself in every call.

    On CUDA it fails where torch would give up compiling it for yet another size (after eight; it
    takes three, see the tests) and go on many times slower with no word but a line in the log.
    """
    if device_type == "cuda":
        return torch.compile(flex_attention, fullgraph=True)  # pyright: ignore[reportUnknownMemberType]
    return torch.compile(flex_attention, backend="eager")  # pyright: ignore[reportUnknownMemberType]


def _mask_mod(labels: Tensor, table: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """FlexAttention's question about one pair of tokens; the same code whatever the plan."""

    def permitted(picture: Tensor, head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return table[picture, labels[picture, row], labels[picture, column]]

    return permitted


def computed_share(plan: JointPlan, controls: frozenset[str]) -> float:
    """The share of all blocks that a block mask cannot skip, in [0, 1]."""
    partial, full = _blocks(_ordered_labels(plan), plan.permissions(controls))
    return float((partial | full).mean())


def image_order(plan: JointPlan) -> NDArray[np.intp]:
    """The image tokens cell by cell, shape (image tokens,): place i takes token order[i]."""
    return np.argsort(plan.labels[_image(plan)], kind="stable")


def _ordered_labels(plan: JointPlan) -> NDArray[np.intp]:
    """Each token's cell, shape (S,), with the image tokens in order."""
    labels = plan.labels.copy()
    labels[_image(plan)].sort()
    return labels


def _image(plan: JointPlan) -> slice:
    """The places of the image tokens; those that a site does not have are none."""
    start = plan.image_start
    return slice(start, start if plan.site == "text" else start + plan.image_tokens)


def _table(permissions: Sequence[Bools]) -> Bools:
    """The permissions of all pictures, padded to one shape (B, cells, cells)."""
    size = -(-max(map(len, permissions)) // CELLS) * CELLS
    table = np.zeros((len(permissions), size, size), np.bool_)
    for target, allowed in zip(table, permissions, strict=True):
        target[: len(allowed), : len(allowed)] = allowed
    return table


def _blocks(labels: NDArray[np.intp], permissions: Bools) -> tuple[Bools, Bools]:
    """Which blocks are permitted in part, and which as a whole, shape (K, K) each.

    A block that the sequence fills only in part is never a whole one.
    """
    tokens, count = len(labels), -(-len(labels) // BLOCK)
    present = np.zeros((count, len(permissions)), np.int64)
    present[np.arange(tokens) // BLOCK, labels] = 1
    some = present @ permissions @ present.T > 0
    others = present @ ~permissions @ present.T > 0
    filled = np.arange(1, count + 1) * BLOCK <= tokens
    full = some & ~others & filled[:, None] & filled[None]
    return some & ~full, full


def _listed(blocks: NDArray[np.bool_], device: torch.device) -> tuple[Tensor, Tensor]:
    """Per row of blocks how many are set, (B, 1, K), and their numbers first, (B, 1, K, K)."""
    counts = blocks.sum(-1, dtype=np.int32)[:, None]
    numbers = np.argsort(~blocks, axis=-1, kind="stable").astype(np.int32)[:, None]
    return torch.as_tensor(counts, device=device), torch.as_tensor(numbers, device=device)
