"""Regional cross-attention: at each pixel, the prompts of the regions it lies in.

Shapes: B pictures; rows = [B negatives if there is guidance, then per picture global, instance
1..N_i]; L text tokens of T channels; S image tokens of C channels; heads of D channels.

Source: 3DIS (arXiv 2410.12669). What differs is only where things are computed: the query once a
layer, the text's keys and values once a run, the output projection once after the weighted sum
(it is linear and the weights sum to 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from threedis_core.attention import FusionPlan
from threedis_core.errors import RenderError
from threedis_diffusers.unet.fused_attention import fused_attention, heads_first
from threedis_diffusers.unet.instance_loras import CellText, UNetLoRAs


class RegionProcessor:
    """Attention processor of one cross-attention layer for one run.

    Args:
        plan: Who counts where.
        text: Embeddings of all rows, shape (rows, L, T).
        loras: LoRAs of instances; None: there are none.
    """

    def __init__(self, plan: FusionPlan, text: Tensor, loras: UNetLoRAs | None = None) -> None:
        self._plan, self._loras = plan, loras
        self._texts = [CellText({}, text)] if loras is None else loras.texts
        self._guided = len(text) - sum(plan.counts)
        self._keys_values: dict[int, tuple[Tensor, Tensor]] = {}
        self._weights: dict[int, tuple[Tensor, list[int]]] = {}

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend as the stock processor does, but with every row of text, and fuse.

        ``encoder_hidden_states`` is not read: the rows hold the same text and more.

        Raises:
            RenderError: An attention mask, which has no meaning for other rows of text.
        """
        if attention_mask is not None:
            raise RenderError("the region hook cannot serve a text attention mask")
        residual = hidden_states
        hidden_states = _normalise(attn, hidden_states, temb)
        query = _split_heads(attn, attn.to_q(hidden_states))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        fused = self._attend_by_cell(attn, query)
        fused = fused.transpose(1, 2).flatten(2).to(query.dtype)
        fused = attn.to_out[1](attn.to_out[0](fused))  # pyright: ignore[reportOptionalSubscript]
        if residual.ndim == 4:
            fused = fused.transpose(1, 2).reshape(residual.shape)
        if attn.residual_connection:
            fused = fused + residual
        return fused / attn.rescale_output_factor

    def _attend_by_cell(self, attn: Attention, query: Tensor) -> Tensor:
        """Fused attention, shape (batch, heads, S, D): where LoRAs count, by their keys."""
        if self._loras is None:
            return self._attend(attn, query, 0)
        shares = self._loras.shares(query.shape[2], query)
        parts = [
            self._attend(attn, query, cell) * share
            for cell, share in enumerate(shares)
            if share.any()
        ]
        return torch.stack(parts).sum(0)

    def _attend(self, attn: Attention, query: Tensor, cell: int) -> Tensor:
        """Fused attention, shape (batch, heads, S, D), of a query of that shape."""
        keys, values = self._text_keys_values(attn, query, cell)
        weights, counts = self._shares(query)
        # A batch without its unconditional half (guess mode) skips the negative rows.
        first = len(keys) - len(weights)
        return fused_attention(query, keys[first:], values[first:], weights, counts)

    def _text_keys_values(self, attn: Attention, query: Tensor, cell: int) -> tuple[Tensor, Tensor]:
        if cell not in self._keys_values:
            text = self._texts[cell].rows.to(query.device, query.dtype)
            if attn.norm_cross:
                text = attn.norm_encoder_hidden_states(text)  # pyright: ignore[reportOptionalCall]
            keys = _split_heads(attn, self._project(attn.to_k, text, cell))
            if attn.norm_k is not None:
                keys = attn.norm_k(keys)
            values = _split_heads(attn, self._project(attn.to_v, text, cell))
            self._keys_values[cell] = heads_first(keys), heads_first(values)
        return self._keys_values[cell]

    def _project(self, layer: Any, text: Tensor, cell: int) -> Tensor:
        if self._loras is None:
            return layer(text)
        return self._loras.projected(layer, self._texts[cell], text)

    def _shares(self, query: Tensor) -> tuple[Tensor, list[int]]:
        """Each row's weights, shape (rows, S), and how many rows each input of the batch has."""
        batch, _, tokens, _ = query.shape
        if batch not in self._weights:
            plan = self._plan
            negatives = batch - plan.pictures
            if negatives not in (0, self._guided):
                raise RenderError(
                    f"the U-Net got a batch of {batch} for {plan.pictures} pictures; "
                    f"expected {plan.pictures} or {plan.pictures + self._guided}"
                )
            weights = plan.weights(tokens, query.dtype, query.device)
            weights = torch.cat([weights.new_ones(negatives, tokens), weights])
            self._weights[batch] = weights, [1] * negatives + list(plan.counts)
        return self._weights[batch]


class Hook(Protocol):
    """Something in a model that can be taken out again."""

    def detach(self) -> None:
        """Leave no trace in the model."""


class ProcessorHook:
    """Puts processors into layers of a model while it is on.

    Args:
        layers: The layers.
        processors: One for each layer.
    """

    def __init__(self, layers: Sequence[Attention], processors: Sequence[Any]) -> None:
        self._layers = layers
        self._processors = processors
        self._own: list[Any] | None = None

    def switch(self, on: bool) -> None:
        """Attach the processors, or put the model's own ones back."""
        if on and self._own is None:
            self._own = [layer.processor for layer in self._layers]
            _set_processors(self._layers, self._processors)
        elif not on and self._own is not None:
            own, self._own = self._own, None
            _set_processors(self._layers, own)

    def detach(self) -> None:
        """Put the model's own processors back."""
        self.switch(on=False)


class RegionHook(ProcessorHook):
    """Puts region processors into a model's cross-attention while the control is on.

    Args:
        model: A U-Net or a ControlNet.
        plan: Who counts where.
        text: Embeddings of all rows, shape (rows, L, T).
        wrap: Applied to each processor before it is attached.
        loras: LoRAs of instances; None: there are none.
    Raises:
        RenderError: The model has an IP-Adapter.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: FusionPlan,
        text: Tensor,
        wrap: Callable[[RegionProcessor], Any] = lambda processor: processor,
        loras: UNetLoRAs | None = None,
    ) -> None:
        layers = list(cross_attention_layers(model))
        _refuse_ip_adapters(layers)
        super().__init__(layers, [wrap(RegionProcessor(plan, text, loras)) for _ in layers])


@contextmanager
def attached(*hooks: Hook) -> Iterator[None]:
    """Restore every hook's model on the way out, after success and after an exception."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.detach()


def cross_attention_layers(model: nn.Module) -> Iterator[Attention]:
    """Every layer of ``model`` that attends to text, in order."""
    for module in model.modules():
        if getattr(module, "is_cross_attention", False) and hasattr(module, "set_processor"):
            yield module  # type: ignore[misc]


def _refuse_ip_adapters(layers: Sequence[Attention]) -> None:
    """An IP-Adapter's processors would be taken out, and its picture lost without a word."""
    if any(type(layer.processor).__name__.startswith("IPAdapter") for layer in layers):
        raise RenderError(
            "this U-Net has an IP-Adapter, whose processors stand where the region hook's would; "
            "unload it with pipeline.unload_ip_adapter()"
        )


def _set_processors(layers: Sequence[Attention], processors: Sequence[Any]) -> None:
    for layer, processor in zip(layers, processors, strict=True):
        layer.set_processor(processor)


def _normalise(attn: Attention, hidden_states: Tensor, temb: Tensor | None) -> Tensor:
    """Image tokens (batch, S, C) after the layer's own norms, from tokens or a feature map."""
    if attn.spatial_norm is not None:
        hidden_states = attn.spatial_norm(hidden_states, temb)
    if hidden_states.ndim == 4:
        hidden_states = hidden_states.flatten(2).transpose(1, 2)
    if attn.group_norm is not None:
        hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
    return hidden_states


def _split_heads(attn: Attention, tokens: Tensor) -> Tensor:
    """(batch, tokens, heads * D) to (batch, heads, tokens, D)."""
    return tokens.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
