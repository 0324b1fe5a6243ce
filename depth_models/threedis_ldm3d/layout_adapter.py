"""The whole layout adapter, and which layers of a U-Net it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers.models.attention_processor import Attention
from torch import nn

from threedis_core.errors import WeightsError
from threedis_diffusers.unet.attention import cross_attention_layers
from threedis_ldm3d.adapter_layers import HEADS, LayerAdapter
from threedis_ldm3d.box_encoder import BOX_WIDTH, BoxEncoder


class LayoutAdapter(nn.Module):
    """One ``LayerAdapter`` for each layer, by the layer's path in the U-Net.

    A weight is called ``layers.PATH.NAME`` in ``state_dict()``, with / for . in the layer's path:
    a module's name may hold no dot.

    Args:
        widths: The layers' channels, by path.
        text_width: Channels of a text embedding.
        box_width: Channels inside the box encoders.
    Raises:
        WeightsError: A layer's channels cannot be split into 8 heads.
    """

    def __init__(
        self, widths: Mapping[str, int], text_width: int, box_width: int = BOX_WIDTH
    ) -> None:
        super().__init__()
        for path, width in widths.items():
            if width % HEADS:
                raise WeightsError(
                    f"layer {path} has {width} channels; the layout adapter needs a multiple of "
                    f"{HEADS}: use another U-Net"
                )
        self.widths = dict(widths)
        self.text_width = text_width
        self.box_width = box_width
        self.layers = nn.ModuleDict(
            {
                _name(path): LayerAdapter(width, text_width, BoxEncoder(text_width, box_width))
                for path, width in widths.items()
            }
        )

    def layer(self, path: str) -> LayerAdapter:
        """The adapter of the layer at ``path``."""
        return self.layers[_name(path)]  # type: ignore[return-value]

    @classmethod
    def for_unet(cls, unet: nn.Module, box_width: int = BOX_WIDTH) -> LayoutAdapter:
        """A fresh adapter that fits ``unet``; its gates are closed, so that it changes nothing.

        Raises:
            WeightsError: The U-Net has no layer for it, or layers that it cannot serve.
        """
        layers = adapted_layers(unet)
        if not layers:
            raise WeightsError(
                "the U-Net attends to text neither in its middle nor in an up block before the "
                "last, so it has no place for a layout adapter; use another U-Net"
            )
        text_width = next(iter(layers.values())).cross_attention_dim
        widths = {path: layer.query_dim for path, layer in layers.items()}
        return cls(widths, text_width, box_width)


def adapted_layers(unet: Any) -> dict[str, Attention]:
    """The cross-attention layers with an adapter: the middle, and all up blocks but the last.

    In Stable Diffusion 1.x these are mid_block, up_blocks.1 and up_blocks.2, as published.

    Returns:
        The layers by their paths, in order.
    """
    inner = ("mid_block.", *(f"up_blocks.{index}." for index in range(len(unet.up_blocks) - 1)))
    attending = {id(layer) for layer in cross_attention_layers(unet)}
    return {
        path: module
        for path, module in unet.named_modules()
        if path.startswith(inner) and id(module) in attending
    }


def _name(path: str) -> str:
    return path.replace(".", "/")
