"""The text a ControlNet reads: its own neutral prompts, not the picture's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from threedis_diffusers.unet.prompts import BatchText, Encode, same_length
from threedis_sd.options import UNetOptions


def controlnet_text(encode: Encode, text: BatchText, options: UNetOptions) -> Tensor | None:
    """What the ControlNet reads instead of the picture's text; None: it reads the picture's.

    Args:
        encode: The model's text encoding.
        text: The picture's text, B pictures.
        options: They name the ControlNet's prompts; null means the picture's own.
    Returns:
        Negatives, if there is guidance, then positives: shape (2B or B, L, T). A pooled embedding
        is always the picture's own.
    """
    if options.control_cn:
        return None
    halves = [
        (text.negative, options.controlnet_negative_prompt),
        (text.positive, options.controlnet_prompt),
    ]
    if all(given is None or prompt is None for given, prompt in halves):
        return None
    parts = [
        given if prompt is None else encode([prompt] * len(given.hidden))
        for given, prompt in halves
        if given is not None
    ]
    return torch.cat([text.hidden for text in same_length(encode, parts)])


def named_controlnet_prompts(options: UNetOptions, guided: bool) -> Iterator[tuple[str, str]]:
    """The ControlNet's own prompts that are read, each with its option's name."""
    if options.control_cn:
        return
    if options.controlnet_prompt is not None:
        yield "controlnet_prompt", options.controlnet_prompt
    if guided and options.controlnet_negative_prompt is not None:
        yield "controlnet_negative_prompt", options.controlnet_negative_prompt


@contextmanager
def controlnet_reads(controlnet: nn.Module, text: Tensor) -> Iterator[None]:
    """Give ``text`` to the ControlNet in place of what the pipeline gives it."""

    def replace(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # In guess mode the ControlNet gets the conditional half alone, which comes last.
        size = len(kwargs["encoder_hidden_states"])
        return args, {**kwargs, "encoder_hidden_states": text[-size:]}

    handle = controlnet.register_forward_pre_hook(replace, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
