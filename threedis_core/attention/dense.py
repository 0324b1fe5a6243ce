"""The plan as one additive mask: the reference that the other lowerings are held to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_plan import JointPlan

# CUDA's kernels copy a bias in every call unless its rows start at multiples of this.
ROW_ALIGNMENT = 16


class DenseAttention(JointAttention):
    """Masked attention; the mask is 0 or -inf, built once, in the dtype of the queries.

    A mask of another dtype than the queries' is silently wrong in some of CUDA's kernels.
    """

    lowering = "dense"

    def __init__(
        self,
        plans: Sequence[JointPlan],
        controls: frozenset[str],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        first, *others = plans
        distinct = plans if any(not plan.same_as(first) for plan in others) else [first]
        masks = torch.stack([_mask(plan, controls, device, dtype) for plan in distinct])
        super().__init__(len(plans), first.tokens)
        self._mask = masks[:, None, :, : self.tokens]

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Do the attention in torch's own kernel."""
        return scaled_dot_product_attention(query, key, value, attn_mask=self._mask)

    def tensors(self) -> Iterable[Tensor]:
        """The mask."""
        yield self._mask


def _mask(
    plan: JointPlan, controls: frozenset[str], device: torch.device, dtype: torch.dtype
) -> Tensor:
    """The additive mask of one picture, shape (S, S rounded up to the alignment)."""
    labels = torch.as_tensor(plan.labels, device=device)
    allowed = torch.as_tensor(plan.permissions(controls), device=device)
    width = -(-plan.tokens // ROW_ALIGNMENT) * ROW_ALIGNMENT
    mask = torch.zeros(plan.tokens, width, dtype=dtype, device=device)
    mask[:, : plan.tokens].masked_fill_(~allowed[:, labels][labels], float("-inf"))
    return mask
