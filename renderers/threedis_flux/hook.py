"""The joint-attention hook: what the transformer reads, and who sees whom, phase by phase.

Shapes: B pictures; N_i instances of picture i; T text tokens of C channels, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from threedis_core.attention import JointAttention, JointPlan, lower
from threedis_core.attention.joint_controls import Bools
from threedis_core.values.schedule import ControlSchedule
from threedis_flux.attention import JointProcessor, Rotary, arrange_positions
from threedis_flux.schedule import TEXTS


class JointHook:
    """Gives a FLUX transformer the texts and the attention of each phase.

    Args:
        transformer: A ``FluxTransformer2DModel``.
        texts: Per picture its prompts, shape (1 + N_i, L_i, C): the global one, the instances'.
        masks: Per picture its instances' image tokens, bool, shape (N_i, rows, columns).
        schedule: Which control is on at which step.
        lowering: How the plan is carried out.
        device: Where the transformer computes.
        cached: True if one of diffusers' caches is on; each phase then has a cache of its own.
    """

    def __init__(
        self,
        transformer: Any,
        texts: Sequence[Tensor],
        masks: Sequence[Bools],
        schedule: ControlSchedule,
        lowering: str,
        device: torch.device,
        cached: bool = False,
    ) -> None:
        self._transformer = transformer
        self._texts, self._masks = texts, masks
        self._schedule, self._lowering, self._device = schedule, lowering, device
        self._cached = cached
        self._phase = ExitStack()
        self._controls: frozenset[str] | None = None
        self._text = self.plain_text
        self._attention: JointAttention | None = None

    @property
    def plain_text(self) -> Tensor:
        """What the transformer reads when nothing is on, shape (B, T, C)."""
        return arrange_texts([text[:1] for text in self._texts])

    @property
    def memory(self) -> int:
        """Bytes of the texts, masks and indices it holds in this phase; what is shared once."""
        storages = {
            text.untyped_storage().data_ptr(): text.untyped_storage().nbytes()
            for text in (*self._texts, self._text)
        }
        return sum(storages.values()) + (self._attention.memory if self._attention else 0)

    def step(self, index: int) -> None:
        """Get ready for step ``index``: a new phase begins where other controls are on."""
        controls = self._schedule.active(index)
        if controls != self._controls:
            self.stop()
            self._start(controls)

    def stop(self) -> None:
        """Put the transformer's own processors back."""
        self._phase.close()
        self._controls = self._attention = None

    def _start(self, controls: frozenset[str]) -> None:
        texts = [text if controls else text[:1] for text in self._texts]
        self._text = arrange_texts(texts)
        self._attention = lower(
            plan(texts, self._masks),
            controls - {TEXTS},
            self._lowering,
            self._device,
            self._text.dtype,
        )
        if self._attention is not None:
            self._phase.enter_context(processors(self._transformer, self._attention))
        if self._cached:
            name = "+".join(sorted(controls)) or "plain"
            self._phase.enter_context(self._transformer.cache_context(name))
        self._controls = controls

    @property
    def _order(self) -> Tensor | None:
        return None if self._attention is None else self._attention.order

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook of the transformer: hand it the phase's texts and arrangement."""
        ids = kwargs["txt_ids"]
        text = self._text.to(kwargs["encoder_hidden_states"])
        kwargs["encoder_hidden_states"] = text
        kwargs["txt_ids"] = ids.new_zeros(text.shape[1], ids.shape[-1])
        if self._order is not None:
            kwargs["hidden_states"] = _arrange(kwargs["hidden_states"], self._order)
        return args, kwargs

    def positions(self, module: nn.Module, args: tuple[Any, ...], rotary: Rotary) -> Rotary:
        """A forward hook of the position embedding: arrange it as the image tokens are."""
        return rotary if self._order is None else arrange_positions(rotary, self._order)

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """A forward hook of the transformer: put the image tokens back."""
        if self._order is None:
            return output
        back = self._order.argsort(1)  # the inverse permutation
        if isinstance(output, tuple):
            return (_arrange(output[0], back), *output[1:])
        output.sample = _arrange(output.sample, back)
        return output


@contextmanager
def attached(hook: JointHook, transformer: Any) -> Iterator[None]:
    """Have ``hook`` in ``transformer`` from its step 0 on, and leave no trace of it afterwards."""
    handles = [
        transformer.register_forward_pre_hook(hook.before, with_kwargs=True),
        transformer.pos_embed.register_forward_hook(hook.positions),
        transformer.register_forward_hook(hook.after),
    ]
    try:
        hook.step(0)
        yield
    finally:
        hook.stop()
        for handle in handles:
            handle.remove()


@contextmanager
def processors(transformer: Any, attention: JointAttention) -> Iterator[None]:
    """Have one processor in all of a transformer's blocks, then its own ones again."""
    own = dict(transformer.attn_processors)
    transformer.set_attn_processor(JointProcessor(attention))
    try:
        yield
    finally:
        transformer.set_attn_processor(own)


def arrange_texts(texts: Sequence[Tensor]) -> Tensor:
    """One row of text per picture, padded to the longest: (prompts, L_i, C) each to (B, T, C)."""
    rows = [text.flatten(0, 1) for text in texts]
    if len(rows) == 1:
        return rows[0][None]  # no copy
    tokens = max(len(row) for row in rows)
    return torch.stack([pad(row, (0, 0, 0, tokens - len(row))) for row in rows])


def plan(texts: Sequence[Tensor], masks: Sequence[Bools]) -> list[JointPlan]:
    """The plans of pictures whose texts are ``arrange_texts(texts)``; see ``JointHook``."""
    plans = [
        JointPlan((text.shape[1],) * len(text), mask[: len(text) - 1])
        for text, mask in zip(texts, masks, strict=True)
    ]
    tokens = max(plan.text_tokens for plan in plans)
    return [plan.padded(tokens) for plan in plans]


def _arrange(tokens: Tensor, order: Tensor) -> Tensor:
    """Image tokens (B, S, C) in another order, shape (B, S)."""
    return tokens.gather(1, order[..., None].expand(-1, -1, tokens.shape[-1]))
