"""Clip skip: read a text encoder without its last layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_last_layers(encoder: Any, count: int | None) -> Iterator[None]:
    """Have a CLIP text encoder without its last ``count`` layers while inside; None is 0.

    Its final norm then comes after an earlier layer, which is what clip skip means. diffusers'
    own argument looks for the norm where transformers 5 no longer has it.
    """
    layers = encoder.encoder.layers
    try:
        encoder.encoder.layers = layers[: len(layers) - (count or 0)]
        yield
    finally:
        encoder.encoder.layers = layers
