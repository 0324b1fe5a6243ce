"""Qwen-Image offloaded in every way draws the same pictures, and leaves nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from threedis_core.plugin.interfaces import RenderRequest
from threedis_diffusers.memory import fitting, placing
from threedis_qwen_image.backend import QwenImageRenderer


def pictures(renderer: QwenImageRenderer, requests: list[RenderRequest]) -> np.ndarray:
    return np.stack([np.asarray(one.image).astype(int) for one in renderer.render(requests)])


@pytest.mark.parametrize("offload", ["none", "model", "sequential", "group"])
def test_offloading_draws_the_same_pictures_and_leaves_nothing(
    offload: str,
    make_renderer: Callable[..., QwenImageRenderer],
    make_request: Callable[..., RenderRequest],
    monkeypatch: pytest.MonkeyPatch,
    lazy_device: torch.device,
) -> None:
    """Groups are fetched from the CPU to the CPU: weights of a lazy device cannot be swapped."""
    requests = [
        make_request(("a red cat", (0.0, 0.0, 0.5, 1.0)), ("a blue dog", (0.5, 0.0, 1.0, 1.0))),
        make_request(("a horse", (0.5, 0.0, 1.0, 1.0)), prompt="a field", seed=1),
    ]
    whole = pictures(make_renderer(), requests)
    device = torch.device("cpu") if offload in ("none", "group") else lazy_device
    monkeypatch.setattr("threedis_diffusers.joint.model.resolve_device", lambda _: device)
    monkeypatch.setattr(placing, "SHARED_MEMORY", ())
    monkeypatch.setattr(fitting, "SHARED_MEMORY", ("cpu", "lazy"))
    renderer = make_renderer(offload=offload, dtype="float32")
    for _ in range(2):
        assert np.abs(pictures(renderer, requests) - whole).max() <= 2
    parts = [
        one for one in renderer.load().pipeline.components.values() if isinstance(one, nn.Module)
    ]
    held = [weakref.ref(one) for part in parts for one in (part, *part.parameters())]
    assert len(held) > len(parts) > 0
    del parts
    gc.disable()  # so nothing is collected by chance
    renderer.close()
    gc.enable()
    assert [one for one in held if one() is not None] == []
