"""Which queries to attend together to which keys, so that no mask is needed.

Pure data, like the plan: cells in, clusters of cells out. C cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from threedis_core.attention.joint_controls import Bools

# Costs in units of gathering one key and its value, measured on one CPU core with heads of 128.
MERGE_ROW = 2.0
CALL = 50.0
# Keys to share are looked for among the groups that see most, and not at all among more groups
# than any real layout makes, so that planning takes a fraction of a second.
WIDEST = 48
MOST_GROUPS = 256


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that see the same keys.

    Args:
        rows: Their cells, bool, shape (C,).
        keys: The cells they see, bool, shape (C,); within a cluster, those beyond the shared ones.
    """

    rows: Bools
    keys: Bools


@dataclass(frozen=True, eq=False)
class Cluster:
    """Groups that attend to ``shared`` in one call, and each to its own further keys in another.

    The two are merged by their log-sum-exps. A group alone has all of its keys in ``shared``.
    """

    shared: Bools
    groups: tuple[Group, ...]


def cluster(permissions: Bools, sizes: NDArray[np.intp]) -> list[Cluster]:
    """Split the attention into clusters; every query is in one of them.

    Args:
        permissions: Cell sees cell, shape (C, C).
        sizes: Tokens of each cell, shape (C,).
    """
    # Cells that see the same keys attend together, whatever they are.
    keys, numbers = np.unique(permissions, axis=0, return_inverse=True)
    groups = [Group(numbers.reshape(-1) == i, row) for i, row in enumerate(keys)]
    clusters: list[Cluster] = []
    # Greedy: the cluster that saves most comes first, then the best one of what is left.
    while (found := _best_cluster(groups, sizes)) is not None:
        shared, members = found
        rests = tuple(Group(group.rows, group.keys & ~shared) for group in members)
        clusters.append(Cluster(shared, rests))
        groups = [group for group in groups if not any(group is member for member in members)]
    nothing = np.zeros(len(sizes), np.bool_)
    alone = [Cluster(group.keys, (Group(group.rows, nothing),)) for group in groups]
    return clusters + alone


def _best_cluster(
    groups: Sequence[Group], sizes: NDArray[np.intp]
) -> tuple[Bools, list[Group]] | None:
    """The shared keys that save most, and the groups to share them; None if nothing saves."""
    if not 2 <= len(groups) <= MOST_GROUPS:
        return None
    keys = np.array([group.keys for group in groups])
    rows = np.array([group.rows for group in groups]) @ sizes
    seen = keys @ sizes
    # Keys need no gathering where they are all the keys there are.
    gathered = np.where(keys.all(1), 0, seen)
    # What any two of the widest groups have in common is a candidate for the shared keys.
    widest = keys[np.argsort(-gathered)[:WIDEST]]
    candidates = np.unique((widest[:, None] & widest).reshape(-1, len(sizes)), axis=0)
    tokens = candidates @ sizes
    # In floats, exact below 2**24 tokens, because numpy multiplies them faster.
    inside = candidates.astype(np.float32) @ (keys * sizes).astype(np.float32).T
    # A group that joins gathers only the rest of its keys, but its two results must be merged.
    rests = seen - inside
    saving = gathered - rests - MERGE_ROW * rows - CALL * (rests > 0)
    fits = inside == tokens[:, None]  # a group may share only keys that it sees
    gains = np.where(fits, saving, 0).clip(0)
    totals = gains.sum(1) - tokens - CALL  # the shared keys are gathered once, in one more call
    best = int(totals.argmax())
    if totals[best] <= 0:
        return None
    return candidates[best], [g for g, gain in zip(groups, gains[best], strict=True) if gain > 0]
