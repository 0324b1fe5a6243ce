"""Put the layout adapter and the regional fusion into a U-Net, step by step, and take them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from threedis_core.attention import FusionPlan
from threedis_diffusers.unet.attention import RegionProcessor, cross_attention_layers
from threedis_ldm3d.adapter_layers import LayerAdapter
from threedis_ldm3d.conditions import LayoutConditions
from threedis_ldm3d.layout_adapter import LayoutAdapter, adapted_layers

ADAPTER = "adapter"
FUSION = "regions"
"""The two controls. Where both are on, the adapter has its own layers, the fusion the others."""


@dataclass(frozen=True, eq=False)
class AdapterProcessor:
    """Attention processor of one layer: what the layer's own one gives, and the adapter's part.

    Args:
        own: The layer's own processor; it attends to the global and the negative prompts.
        adapter: The layer's adapter.
        conditions: The batch's layouts.
    """

    own: Any
    adapter: LayerAdapter
    conditions: LayoutConditions

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
        attended = self.own(
            attn, hidden_states, encoder_hidden_states, attention_mask, temb, **kwargs
        )
        conditions = self.conditions
        first = len(hidden_states) - conditions.batch
        rows = conditions.pictures_on(hidden_states.device) + first
        tokens = hidden_states[rows]
        layout = conditions.layer(tokens.shape[1], tokens.dtype, tokens.device)
        boxes = self.adapter.box_encoder(layout.boxes, tokens.dtype)
        added = self.adapter(tokens, boxes, layout).to(attended.dtype)  # autocast may give another
        return attended.index_add(0, rows, added)


class LayoutHook:
    """Switches a U-Net's cross-attention between adapter, fusion and its own processors.

    Use it inside ``attached(hook)`` of ``threedis_diffusers.unet.attention``, which restores the
    U-Net.

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
        self._layers = list(cross_attention_layers(unet))
        self._own = [layer.processor for layer in self._layers]
        self._adapting: dict[Attention, Any] = {}
        if adapter is not None:
            for path, layer in adapted_layers(unet).items():
                processor = AdapterProcessor(layer.processor, adapter.layer(path), conditions)
                self._adapting[layer] = wrap(processor)
        self._fusing = [wrap(RegionProcessor(plan, text)) for _ in self._layers]
        self._has_instances = bool(conditions.pictures)

    def switch(self, controls: frozenset[str]) -> None:
        """Attach what ``controls`` says; without instances nothing is ever attached."""
        self.detach()
        if not self._has_instances:
            return
        adapting = self._adapting if ADAPTER in controls else {}
        others = self._fusing if FUSION in controls else self._own
        for layer, other in zip(self._layers, others, strict=True):
            layer.set_processor(adapting.get(layer, other))

    def detach(self) -> None:
        """Put the U-Net's own processors back."""
        for layer, own in zip(self._layers, self._own, strict=True):
            layer.set_processor(own)
