"""Put the layout adapter and the regional fusion into a U-Net, step by step, and take them out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from threedis_core.attention import FusionPlan
from threedis_diffusers.unet.attention import ProcessorHook, RegionProcessor, cross_attention_layers
from threedis_ldm3d.adapter_layers import LayerAdapter
from threedis_ldm3d.conditions import LayoutConditions
from threedis_ldm3d.layout_adapter import LayoutAdapter, adapted_layers

ADAPTER = "adapter"
FUSION = "regions"
"""The two controls. Where both are on, the adapter has its own layers, the fusion the others."""


class AdapterProcessor:
    """Attention processor of one layer: what the layer's own one gives, and the adapter's part.

    Args:
        own: The layer's own processor; it attends to the global and the negative prompts.
        adapter: The layer's adapter.
        conditions: The batch's layouts.
    """

    def __init__(self, own: Any, adapter: LayerAdapter, conditions: LayoutConditions) -> None:
        self._own = own
        self._adapter = adapter
        self._conditions = conditions

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend; the conditional half, which comes last, gets the adapter's part."""
        attended = self._own(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
        )
        conditions = self._conditions
        first = len(hidden_states) - conditions.batch
        rows = conditions.pictures_on(hidden_states.device) + first
        tokens = hidden_states[rows]
        layout = conditions.layer(tokens.shape[1], tokens.dtype, tokens.device)
        added = self._adapter(tokens, layout).to(attended.dtype)  # autocast may give another
        return attended.index_add(0, rows, added)


class LayoutHook:
    """Switches a U-Net's cross-attention between adapter, fusion and its own processors.

    Use it inside ``attached(*hook.processor_hooks)`` of ``threedis_diffusers.unet.attention``,
    which restores the U-Net.

    Args:
        unet: The U-Net.
        adapter: The layout adapter; None: all layers have the fusion.
        conditions: The batch's layouts.
        plan: The batch's fusion weights.
        text: Embeddings of all rows, shape (rows, L, T); see ``RegionProcessor``.
        wrap: Applied to each processor before it is attached.
    """

    def __init__(
        self,
        unet: nn.Module,
        adapter: LayoutAdapter | None,
        conditions: LayoutConditions,
        plan: FusionPlan,
        text: Tensor,
        wrap: Callable[[Any], Any] = lambda processor: processor,
    ) -> None:
        inner = {} if adapter is None else adapted_layers(unet)
        taken = {id(layer) for layer in inner.values()}
        outer = [layer for layer in cross_attention_layers(unet) if id(layer) not in taken]

        def fusion(layers: list[Attention]) -> ProcessorHook:
            return ProcessorHook(layers, [wrap(RegionProcessor(plan, text)) for _ in layers])

        adapting = [
            wrap(AdapterProcessor(layer.processor, adapter.layer(path), conditions))
            for path, layer in inner.items()
            if adapter is not None
        ]
        layers = list(inner.values())
        self._has_instances = bool(conditions.pictures)
        self._adapter = ProcessorHook(layers, adapting)
        self._inner, self._outer = fusion(layers), fusion(outer)

    @property
    def processor_hooks(self) -> tuple[ProcessorHook, ...]:
        """The hooks it consists of, to be restored."""
        return self._adapter, self._inner, self._outer

    def switch(self, controls: frozenset[str]) -> None:
        """Attach what ``controls`` says; without instances nothing is ever attached."""
        adapt = self._has_instances and ADAPTER in controls
        fuse = self._has_instances and FUSION in controls
        for part in self.processor_hooks:
            part.switch(on=False)
        self._adapter.switch(on=adapt)
        self._inner.switch(on=fuse and not adapt)
        self._outer.switch(on=fuse)
