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

from threedis_core.attention import ChosenLowering, JointAttention, JointPlan, lower
from threedis_core.attention.joint_controls import Bools
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_flux.arrangement import arranged
from threedis_flux.attention import JointProcessor
from threedis_flux.instance_loras import FluxLoRAs
from threedis_flux.lowering import UNMASKED, Choose, always
from threedis_flux.schedule import TEXTS


class JointHook:
    """Gives a FLUX transformer the texts and the attention of each phase.

    Args:
        transformer: A ``FluxTransformer2DModel``.
        texts: Per picture its prompts, shape (1 + N_i, L_i, C): the global one, the instances'.
        masks: Per picture its instances' image tokens, bool, shape (N_i, rows, columns).
        schedule: Which control is on at which step.
        lowering: How the plan is carried out, or what says it for each phase.
        device: Where the transformer computes.
        cached: True if one of diffusers' caches is on; each phase then has a cache of its own.
        loras: LoRAs of the instances of pictures that are alike; None: there are none.
    """

    def __init__(
        self,
        transformer: Any,
        texts: Sequence[Tensor],
        masks: Sequence[Bools],
        schedule: ControlSchedule,
        lowering: str | Choose,
        device: torch.device,
        cached: bool = False,
        loras: PlacedLoRAs | None = None,
    ) -> None:
        self._transformer = transformer
        self._texts, self._masks = texts, masks
        self._schedule, self._device = schedule, device
        self._choose = always(lowering) if isinstance(lowering, str) else lowering
        self._cached, self._loras = cached, loras
        self._phase = ExitStack()
        self._controls: frozenset[str] | None = None
        self._text = self.plain_text
        self._attention: JointAttention | None = None
        self.chosen: dict[frozenset[str], ChosenLowering] = {}
        """How each phase so far was carried out, by its controls, in order."""

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
        plans, masked = plan(texts, self._masks), controls - {TEXTS}
        chosen = self._choose(plans, masked)
        self._attention = lower(plans, masked, chosen.name, self._device, self._text.dtype)
        self.chosen[controls] = UNMASKED if self._attention is None else chosen
        if self._attention is not None:
            own = dict(self._transformer.attn_processors)
            self._phase.callback(self._transformer.set_attn_processor, own)
            self._transformer.set_attn_processor(JointProcessor(self._attention))
            if self._attention.order is not None:
                self._phase.enter_context(arranged(self._transformer, self._attention.order))
        if self._loras is not None and controls:
            self._phase.enter_context(self._loras_at(self._loras, texts[0]))
        if self._cached:
            name = "+".join(sorted(controls)) or "plain"
            self._phase.enter_context(self._transformer.cache_context(name))
        self._controls = controls

    @contextmanager
    def _loras_at(self, loras: PlacedLoRAs, texts: Tensor) -> Iterator[None]:
        """Have the LoRAs in the transformer, for one phase; all pictures' texts are as long."""
        order = None if self._attention is None else self._attention.order
        lengths = [texts.shape[1]] * len(texts)
        in_phase = FluxLoRAs(loras, self._transformer, lengths, None if order is None else order[0])
        try:
            in_phase.attach(self._device)
            yield
        finally:
            in_phase.detach()

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook of the transformer: hand it the phase's texts."""
        ids = kwargs["txt_ids"]
        text = self._text.to(kwargs["encoder_hidden_states"])
        kwargs["encoder_hidden_states"] = text
        kwargs["txt_ids"] = ids.new_zeros(text.shape[1], ids.shape[-1])
        return args, kwargs


@contextmanager
def attached(hook: JointHook, transformer: Any) -> Iterator[None]:
    """Have ``hook`` in ``transformer`` from its step 0 on, and leave no trace of it afterwards."""
    handle = transformer.register_forward_pre_hook(hook.before, with_kwargs=True)
    try:
        hook.step(0)
        yield
    finally:
        hook.stop()
        handle.remove()


def arrange_texts(texts: Sequence[Tensor]) -> Tensor:
    """One row of text per picture, padded to the longest: (prompts, L_i, C) each to (B, T, C)."""
    rows = [text.flatten(0, 1) for text in texts]
    if len(rows) == 1:
        return rows[0][None]  # no copy
    tokens = max(len(row) for row in rows)
    return torch.stack([pad(row, (0, 0, 0, tokens - len(row))) for row in rows])


def plan(texts: Sequence[Tensor], masks: Sequence[Bools]) -> list[JointPlan]:
    """The plans of pictures whose texts are ``arrange_texts(texts)``; see ``JointHook``."""
    lengths = [(text.shape[1],) * len(text) for text in texts]
    tokens = max(map(sum, lengths))
    return [
        JointPlan(own, mask[: len(own) - 1], padding=tokens - sum(own))
        for own, mask in zip(lengths, masks, strict=True)
    ]
