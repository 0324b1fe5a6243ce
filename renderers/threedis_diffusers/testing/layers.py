"""What each layer of cross-attention answers on its own, whatever the layers before it do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from threedis_core.plugin.interfaces import RenderBackend, RenderRequest
from threedis_diffusers.testing.recording import sample
from threedis_diffusers.unet.attention import cross_attention_layers


def text_layers(denoiser: nn.Module) -> dict[str, nn.Module]:
    """Every layer that attends from image to text, by its name."""
    own = set(cross_attention_layers(denoiser))
    return {name: module for name, module in denoiser.named_modules() if module in own}


def answers(
    backend: RenderBackend,
    layers: Mapping[str, nn.Module],
    request: RenderRequest,
    given: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each layer was asked, and what it answered, at its first call in a render.

    Args:
        backend: A loaded backend.
        layers: Layers of its denoiser, by name.
        request: What to render.
        given: What to ask each layer instead of what the layers before it make.
    """
    asked: dict[str, Tensor] = {}
    answered: dict[str, Tensor] = {}

    def listen(name: str, layer: nn.Module) -> None:
        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            named = "hidden_states" in kwargs
            if name in asked:
                return None
            asked[name] = (kwargs["hidden_states"] if named else args[0]).detach().clone()
            if given is None:
                return None
            if named:
                return args, {**kwargs, "hidden_states": given[name]}
            return (given[name], *args[1:]), kwargs

        def after(module: nn.Module, args: Any, output: Any) -> None:
            answered.setdefault(name, sample(output).detach().clone())

        stack.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
        stack.callback(layer.register_forward_hook(after).remove)

    with ExitStack() as stack:
        for name, layer in layers.items():
            listen(name, layer)
        backend.render([request])
    return asked, answered
