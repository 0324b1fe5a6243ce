"""A tiny U-Net with a layout adapter, from the golden numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from threedis_ldm3d.checkpoint import load_adapter
from threedis_ldm3d.layout_adapter import LayoutAdapter

torch.set_num_threads(1)

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def golden_cases() -> dict[str, Any]:
    return json.loads((GOLDEN / "cases.json").read_text("utf-8"))["cases"]


@pytest.fixture(scope="session")
def golden_tensors() -> Callable[[str], dict[str, Tensor]]:
    return lambda name: load_file(GOLDEN / f"{name}.safetensors")


@pytest.fixture(scope="session")
def unet() -> UNet2DConditionModel:
    """The U-Net of the ``adapter_forward`` cases, float32."""
    facts = json.loads((GOLDEN / "adapter_unet.json").read_text("utf-8"))
    unet = UNet2DConditionModel(**facts).eval().requires_grad_(False)
    weights = load_file(GOLDEN / "adapter_unet.safetensors")
    unet.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return unet


@pytest.fixture(scope="session")
def adapter(unet: UNet2DConditionModel) -> LayoutAdapter:
    return load_adapter(GOLDEN / "adapter.safetensors", unet)
