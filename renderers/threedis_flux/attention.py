"""The attention of a FLUX block in which every token sees what the region plan permits.

Shapes: B pictures, S tokens in the order [text; padding; image], H heads of D channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor

from threedis_core.attention import JointAttention

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines of the positions: shape (S, D) each, or (B, S, D) where pictures differ."""


@dataclass(frozen=True, eq=False)
class JointProcessor:
    """Attention processor of all double and single blocks for one phase.

    Every argument that diffusers gives by name is named here: it filters by the signature.

    Args:
        attention: The phase's attention.
    """

    attention: JointAttention

    # A run's own state would make the compiler guess anew; the rest of a block stays compiled.
    @torch.compiler.disable
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Any:
        """Attend as the stock processor does, but by the plan.

        Args:
            attn: The ``FluxAttention`` of a block.
            hidden_states: The image's tokens in a double block, all tokens in a single one.
            encoder_hidden_states: The text's tokens in a double block.
            attention_mask: Not used: the plan says who sees whom.
            image_rotary_emb: The positions' rotation.
        """
        query, key, value = _heads(attn, _project(attn, hidden_states, "to_qkv", "to_q to_k to_v"))
        query, key = attn.norm_q(query), attn.norm_k(key)
        if encoder_hidden_states is not None:
            names = "add_q_proj add_k_proj add_v_proj"
            added = _heads(attn, _project(attn, encoder_hidden_states, "to_added_qkv", names))
            query = torch.cat([attn.norm_added_q(added[0]), query], 1)
            key = torch.cat([attn.norm_added_k(added[1]), key], 1)
            value = torch.cat([added[2], value], 1)
        if image_rotary_emb is not None:
            query, key = _rotate(query, image_rotary_emb), _rotate(key, image_rotary_emb)
        out = self.attention(*(part.transpose(1, 2) for part in (query, key, value)))
        out = out.transpose(1, 2).flatten(2).to(query.dtype)
        if encoder_hidden_states is None:
            return out
        text, image = out.tensor_split([encoder_hidden_states.shape[1]], 1)
        return attn.to_out[1](attn.to_out[0](image)), attn.to_add_out(text)


def _project(attn: Any, tokens: Tensor, fused: str, names: str) -> tuple[Tensor, ...]:
    """Query, key and value, from the fused projection where ``fuse_qkv_projections`` made one."""
    if attn.fused_projections:
        return getattr(attn, fused)(tokens).chunk(3, -1)
    return tuple(getattr(attn, name)(tokens) for name in names.split())


def _heads(attn: Any, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """(B, S, H * D) to (B, S, H, D), each."""
    return tuple(part.unflatten(-1, (-1, attn.head_dim)) for part in parts)


def _rotate(tokens: Tensor, rotary: Rotary) -> Tensor:
    """Turn (B, S, H, D) by the positions."""
    turn: Any = apply_rotary_emb  # annotated as something else than it takes and returns
    if rotary[0].ndim == 2:
        return turn(tokens, rotary, sequence_dim=1)
    turned = [
        turn(one[None], own, sequence_dim=1) for one, *own in zip(tokens, *rotary, strict=True)
    ]
    return torch.cat(turned)
