"""FLUX's joint-attention hook: its own processors, position ids, caches and LoRAs of instances."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from threedis_core.attention import JointPhase, JointPhases
from threedis_diffusers.instance_loras.placed import PlacedLoRAs
from threedis_diffusers.joint.hook import JointHook
from threedis_flux.arrangement import arranged
from threedis_flux.attention import JointProcessor
from threedis_flux.instance_loras import FluxLoRAs


class FluxHook(JointHook):
    """Gives a FLUX transformer, or its ControlNet, the texts and the attention of each phase.

    Args:
        model: A ``FluxTransformer2DModel`` or ``FluxControlNetModel``.
        phases: The batch's.
        cached: True if one of diffusers' caches is on; each phase then has a cache of its own.
        loras: LoRAs of the instances of pictures that are alike; None: there are none.
    """

    def __init__(
        self,
        model: Any,
        phases: JointPhases,
        cached: bool = False,
        loras: PlacedLoRAs | None = None,
    ) -> None:
        super().__init__(model, phases)
        self._cached, self._loras = cached, loras

    def enter(self, phase: JointPhase, stack: ExitStack) -> None:
        """Begin a phase: of attention, LoRAs and cache."""
        attention = phase.attention()
        if attention is not None:
            stack.callback(self.model.set_attn_processor, dict(self.model.attn_processors))
            self.model.set_attn_processor(JointProcessor(attention))
            if attention.order is not None:
                stack.enter_context(arranged(self.model, attention.order))
        if self._loras is not None and phase.controls:
            order = None if attention is None else attention.order
            stack.enter_context(self._loras_at(self._loras, phase, order))
        if self._cached:
            name = "+".join(sorted(phase.controls)) or "plain"
            stack.enter_context(self.model.cache_context(name))

    @contextmanager
    def _loras_at(
        self, loras: PlacedLoRAs, phase: JointPhase, order: Tensor | None
    ) -> Iterator[None]:
        """Have the LoRAs in the transformer, for one phase; all pictures' texts are as long."""
        lengths = [len(text) for text in phase.rows[0].texts]
        in_phase = FluxLoRAs(loras, self.model, lengths, None if order is None else order[0])
        try:
            in_phase.attach(phase.device)
            yield
        finally:
            in_phase.detach()

    def given(self, kwargs: dict[str, Any], text: Tensor) -> dict[str, Any]:
        """The arguments with the phase's text and its positions, which are all alike."""
        ids = kwargs["txt_ids"]
        positions = ids.new_zeros(text.shape[1], ids.shape[-1])
        return {**super().given(kwargs, text), "txt_ids": positions}
