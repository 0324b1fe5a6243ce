"""The LoRAs of the instances of one batch, which is pictures of one layout with one set of regions.

Shapes: N instances, (H, W) the grid of the masks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from threedis_diffusers.batch import Batch
from threedis_diffusers.instance_loras.cells import LoRAMap, Strengths, lora_uses
from threedis_diffusers.instance_loras.layers import Adapters, everywhere
from threedis_diffusers.model_files.checks import TEXT_ENCODERS

Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class PlacedLoRAs:
    """LoRAs and where in the picture each counts.

    Args:
        adapters: The LoRAs, loaded and inactive.
        places: Where each counts.
    """

    adapters: Adapters
    places: LoRAMap

    def encoding(
        self, pipeline: Any, encode: Callable[..., Read], strengths: Strengths
    ) -> Callable[..., Read]:
        """``encode`` with LoRAs in the text encoders of ``pipeline``."""

        def encode_with(*arguments: Any) -> Read:
            with everywhere(self.adapters, strengths, *text_encoders(pipeline)):
                return encode(*arguments)

        return encode_with

    def in_text(self, pipeline: Any) -> set[str]:
        """The LoRAs that change a text encoder of ``pipeline``."""
        return {
            name
            for encoder in text_encoders(pipeline)
            for _, layer in self.adapters.layers(encoder)
            for name in self.adapters.of(layer)
        }

    def left_out(self, placeless: Iterable[tuple[str, str]]) -> list[str]:
        """One line per LoRA that changes layers without a place, and counts in a part only.

        Args:
            placeless: Each LoRA's name with that of such a layer.
        """
        least, layers = self.places.least(), dict[str, list[str]]()
        for name, layer in placeless:
            if name in self.places.names and name not in least:
                layers.setdefault(name, []).append(layer)
        return [
            f"LoRA '{name}' also changes {len(some)} layers that belong to the whole picture "
            f"({some[0]}, say): there it is left out, since it counts in a part of the picture only"
            for name, some in layers.items()
        ]


def text_encoders(pipeline: Any) -> list[Any]:
    """The text encoders of a pipeline."""
    found = [getattr(pipeline, name, None) for name in TEXT_ENCODERS]
    return [encoder for encoder in found if encoder is not None]


def place_loras(
    adapters: Adapters | None, batch: Batch, masks: Sequence[Tensor]
) -> PlacedLoRAs | None:
    """The LoRAs that the instances of ``batch`` name; None if they name none that counts.

    Args:
        adapters: What the renderer has loaded; None: nothing.
        batch: Requests that share layout and regions if any instance names a LoRA.
        masks: Per request its instances' regions, shape (N, H, W).
    """
    if adapters is None:
        return None
    uses = lora_uses(batch.requests[0].layout, adapters.weights)
    return PlacedLoRAs(adapters, LoRAMap(uses, masks[0])) if any(uses) else None
