"""LoRAs of instances in a FLUX transformer: each token as its place in picture or text says.

Shapes: N instances; T text tokens and S image tokens, in the order [text; image].

Image tokens have their place in the picture. An instance's text takes its own LoRAs, and those that
count in all of its region; the global text, like all that has no tokens (the time's embedding,
CLIP's vector), takes what counts in all of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from threedis_diffusers.instance_loras.cells import Strengths
from threedis_diffusers.instance_loras.layers import Adapters, LoRAHook, Strength
from threedis_diffusers.instance_loras.modulation import ModulationHook, TokenStrength
from threedis_diffusers.instance_loras.placed import PlacedLoRAs

TEXT_PARTS = ("norm1_context", "ff_context", "context_embedder", "attn.add_", "attn.to_add_out")
"""Parts of the names of layers that see text tokens alone."""
JOINT_BLOCKS = "single_transformer_blocks"
"""Blocks that see all tokens."""
PLACELESS = "time_text_embed"
"""The part that sees no tokens."""


class FluxLoRAs:
    """The hooks of one phase.

    Args:
        placed: The LoRAs, and where each counts on the grid of image tokens.
        transformer: A ``FluxTransformer2DModel``.
        lengths: Text tokens of the global prompt, then of each instance's that is there.
        order: Which image token comes to each place, shape (S,); None: as they are.
    """

    def __init__(
        self,
        placed: PlacedLoRAs,
        transformer: nn.Module,
        lengths: Sequence[int],
        order: Tensor | None,
    ) -> None:
        self._placed, self._order = placed, order
        whole = placed.places.least()
        self._texts = [whole, *placed.places.of_instances()][: len(lengths)]
        self._lengths = lengths
        self._known: dict[tuple[str, str], Tensor] = {}
        sites: dict[Any, Strength] = {}
        norms: dict[Any, TokenStrength] = {}
        parts = dict(transformer.named_modules())
        for name, layer in placed.adapters.layers(transformer):
            where, (owner, _, last) = site(name), name.rpartition(".")
            if where == "none":
                sites[layer] = _uniform(whole)
            elif last == "linear":
                norms[parts[owner]] = self._at(where)
            else:
                sites[layer] = self._at(where)
        self._hooks = [LoRAHook(placed.adapters, sites), ModulationHook(placed.adapters, norms)]

    def attach(self, device: torch.device) -> None:
        """Add the LoRAs, whose strengths then lie on ``device``."""
        self._device = device
        for hook in self._hooks:
            hook.switch(on=True)

    def detach(self) -> None:
        """Leave no trace in the transformer."""
        for hook in self._hooks:
            hook.detach()

    def _at(self, where: str) -> Any:
        """How strongly a LoRA counts at each token of one place, shape (tokens, 1)."""

        def strength(name: str, output: Tensor | None = None) -> Tensor:
            key = where, name
            if key not in self._known:
                parts = {"text": self._of_text, "image": self._of_image}
                read = [parts[where]] if where in parts else [self._of_text, self._of_image]
                values = torch.cat([part(name) for part in read])
                self._known[key] = values[:, None].to(self._device)
            return self._known[key]

        return strength

    def _of_text(self, name: str) -> Tensor:
        pieces = zip(self._texts, self._lengths, strict=True)
        return torch.cat([torch.full((n,), text.get(name, 0.0)) for text, n in pieces])

    def _of_image(self, name: str) -> Tensor:
        values = self._placed.places.strength(name).flatten()
        return values if self._order is None else values[self._order.cpu()]


def site(layer_name: str) -> str:
    """Which tokens a layer of the transformer sees: text, image, joint (both), or none."""
    if layer_name.startswith(PLACELESS):
        return "none"
    if layer_name.startswith(JOINT_BLOCKS):
        return "joint"
    return "text" if any(part in layer_name for part in TEXT_PARTS) else "image"


def placeless(adapters: Adapters, pipeline: Any) -> Iterator[tuple[str, str]]:
    """The LoRAs' layers that see no tokens: each LoRA's name, the layer's."""
    for layer_name, layer in adapters.layers(pipeline.transformer):
        for name in adapters.of(layer) if site(layer_name) == "none" else ():
            yield name, layer_name
    for layer_name, layer in adapters.layers(pipeline.text_encoder):
        for name in adapters.of(layer):  # CLIP reads the global prompt alone
            yield name, f"text_encoder.{layer_name}"


def _uniform(strengths: Strengths) -> Strength:
    return lambda name, output: strengths.get(name, 0.0)
