"""The layers that LoRAs change, as peft keeps them in a model, and what each LoRA adds there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from threedis_core.errors import WeightsError
from threedis_diffusers.instance_loras.cells import Strengths

Strength = Callable[[str, Tensor], Tensor | float]
"""Called with a LoRA's name and a layer's output; gives how strongly the LoRA counts in it, of a
shape that the output's broadcasts with."""


@dataclass(frozen=True)
class Adapters:
    """LoRAs that are loaded and inactive.

    Args:
        names: By a LoRA's name the adapter that peft knows it as.
        weights: By a LoRA's name the weight that the renderer's option gives it.
    """

    names: Mapping[str, str]
    weights: Strengths

    def layers(self, model: nn.Module) -> Iterator[tuple[str, Any]]:
        """The layers of ``model`` that any of the LoRAs changes, with their names."""
        for name, module in model.named_modules():
            held = getattr(module, "lora_A", None)
            if held is not None and any(adapter in held for adapter in self.names.values()):
                yield name, module

    def of(self, layer: Any) -> list[str]:
        """The LoRAs that change ``layer``."""
        return [name for name, adapter in self.names.items() if adapter in layer.lora_A]

    def added(self, layer: Any, name: str, inputs: Tensor) -> Tensor:
        """What a LoRA adds to a layer's output at strength 1: B(A(x)) times its own scale."""
        adapter = self.names[name]
        down, up = layer.lora_A[adapter], layer.lora_B[adapter]
        return up(down(inputs.to(down.weight.dtype))) * layer.scaling[adapter]

    def check(self, model: nn.Module) -> None:
        """See that every LoRA is a sum that can be weighted from place to place.

        Raises:
            WeightsError: One scales the weights that it is added to (DoRA).
        """
        for layer_name, layer in self.layers(model):
            for name in self.of(layer):
                if self.names[name] in getattr(layer, "lora_variant", {}):
                    raise WeightsError(
                        f"LoRA '{name}' is a DoRA (layer {layer_name}), which scales the model's "
                        "own weights, so it cannot be confined to an instance; load it for the "
                        "whole picture with loras, or take a plain LoRA"
                    )


class LoRAHook:
    """Adds LoRAs to layers while it is on, each as strong as its place says.

    Args:
        adapters: The LoRAs.
        strengths: Layers, and how strong LoRAs are in each.
    """

    def __init__(self, adapters: Adapters, strengths: Mapping[Any, Strength]) -> None:
        self._adapters, self._strengths = adapters, strengths
        self._handles: list[Any] = []

    def switch(self, on: bool) -> None:
        """Add the LoRAs, or take them out again."""
        if on and not self._handles:
            self._handles = [
                layer.register_forward_hook(self._hook(layer, strength))
                for layer, strength in self._strengths.items()
            ]
        elif not on:
            self.detach()

    def detach(self) -> None:
        """Leave no trace in the model."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _hook(self, layer: Any, strength: Strength) -> Any:
        names = self._adapters.of(layer)

        # A run's own state would make the compiler guess anew.
        @torch.compiler.disable
        def add(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            for name in names:
                share = strength(name, output)
                if isinstance(share, Tensor) or share != 0:
                    output = output + (self._adapters.added(layer, name, args[0]) * share).to(
                        output.dtype
                    )
            return output

        return add


@contextmanager
def everywhere(
    adapters: Adapters | None, strengths: Strengths, *models: nn.Module | None
) -> Iterator[None]:
    """Have LoRAs in the whole of ``models``, such as text encoders, while inside."""
    if adapters is None or not strengths:
        yield
        return

    def strength(name: str, output: Tensor) -> float:
        return strengths.get(name, 0.0)

    layers = [layer for model in models if model is not None for _, layer in adapters.layers(model)]
    hook = LoRAHook(adapters, dict.fromkeys(layers, strength))
    try:
        hook.switch(on=True)
        yield
    finally:
        hook.detach()
