"""The plan without any mask: each group of queries attends to the keys it may see, gathered.

Exact. Where groups share many keys (the whole image, say) they attend to those together, and the
merge by log-sum-exp adds each group's own keys.

B pictures, H heads, S tokens, d channels of a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_controls import Bools
from threedis_core.attention.joint_plan import JointPlan
from threedis_core.attention.segmented.log_sum_exp import attend_with_lse, merge
from threedis_core.attention.segmented.plan import Cluster, cluster

Places = slice | Tensor
"""Tokens: a slice where they follow one another, else their indices (a long tensor)."""


@dataclass(frozen=True, eq=False)
class _Rest:
    """Some rows of a cluster and the keys that they see beyond the shared ones."""

    rows: slice
    keys: Places


@dataclass(frozen=True, eq=False)
class _Job:
    """A cluster of cells as tokens; the rows come group by group."""

    rows: Places
    shared: Places
    rests: tuple[_Rest, ...]

    def places(self) -> list[Places]:
        """All the places it holds."""
        return [self.rows, self.shared, *(rest.keys for rest in self.rests)]

    def run(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The attention of the rows, shape (B, H, rows, d)."""
        rows = _take(query, self.rows)
        keys, values = _take(key, self.shared), _take(value, self.shared)
        if not self.rests:
            return scaled_dot_product_attention(rows, keys, values)
        out, lse = attend_with_lse(rows, keys, values)
        for rest in self.rests:
            own = _take(key, rest.keys), _take(value, rest.keys)
            further = attend_with_lse(rows[:, :, rest.rows], *own)
            out[:, :, rest.rows] = merge((out[:, :, rest.rows], lse[:, :, rest.rows]), further)
        return out


class SegmentAttention(JointAttention):
    """Unmasked attention, job by job; pictures of the same plan go together."""

    lowering = "segments"

    def __init__(
        self,
        plans: Sequence[JointPlan],
        controls: frozenset[str],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(len(plans), plans[0].tokens)
        self._parts = [
            (pictures, [_job(plan, part, device) for part in _clusters(plan, controls)])
            for pictures, plan in _runs(plans)
        ]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Do every job and put its rows in their places."""
        out = torch.empty_like(query)
        for pictures, jobs in self._parts:
            part = query[pictures], key[pictures], value[pictures]
            for job in jobs:
                _put(out[pictures], job.rows, job.run(*part))
        return out

    def tensors(self) -> Iterable[Tensor]:
        """The indices of the jobs' tokens."""
        jobs = [job for _, jobs in self._parts for job in jobs]
        places = [place for job in jobs for place in job.places()]
        return [place for place in places if isinstance(place, Tensor)]


def _runs(plans: Sequence[JointPlan]) -> Iterator[tuple[slice, JointPlan]]:
    """Neighbouring pictures of the same plan, and that plan."""
    start = 0
    for stop in range(1, len(plans) + 1):
        if stop == len(plans) or not plans[stop].same_as(plans[start]):
            yield slice(start, stop), plans[start]
            start = stop


def _clusters(plan: JointPlan, controls: frozenset[str]) -> list[Cluster]:
    return cluster(plan.permissions(controls), np.array([cell.size for cell in plan.cells]))


def _job(plan: JointPlan, part: Cluster, device: torch.device) -> _Job:
    """A cluster's cells as tokens on the device."""
    rows = [_tokens(plan, group.rows) for group in part.groups]
    stops = np.cumsum([len(tokens) for tokens in rows]).tolist()
    rests = tuple(
        _Rest(slice(stop - len(tokens), stop), _places(_tokens(plan, group.keys), device))
        for group, tokens, stop in zip(part.groups, rows, stops, strict=True)
        if group.keys.any()
    )
    shared = _places(_tokens(plan, part.shared), device)
    return _Job(_places(np.concatenate(rows), device), shared, rests)


def _tokens(plan: JointPlan, cells: Bools) -> NDArray[np.intp]:
    """The tokens of some cells, in order."""
    return np.flatnonzero(cells[plan.labels])


def _places(tokens: NDArray[np.intp], device: torch.device) -> Places:
    first, last = int(tokens[0]), int(tokens[-1])
    if np.array_equal(tokens, np.arange(first, last + 1)):
        return slice(first, last + 1)
    return torch.as_tensor(tokens, device=device)


def _take(tensor: Tensor, places: Places) -> Tensor:
    """Tokens of (B, H, S, d): a view where they are a slice."""
    if isinstance(places, slice):
        return tensor[:, :, places]
    return tensor.index_select(2, places)


def _put(tensor: Tensor, places: Places, part: Tensor) -> None:
    """Write tokens of (B, H, S, d)."""
    if isinstance(places, slice):
        tensor[:, :, places] = part
    else:
        tensor.index_copy_(2, places, part)
