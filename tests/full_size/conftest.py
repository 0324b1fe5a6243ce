"""Models of the published sizes, with random weights made on the spot: no downloads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline
from torch import nn
from transformers import CLIPTokenizer

from threedis_pocket import WEIGHTS

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave this folder out unless it is asked for: minutes, and gigabytes of memory."""
    if "THREEDIS_TEST_FULL_SIZE" in os.environ:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="run it with: make test-full-size"))


def fill(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Give a model that was made on the meta device random weights that keep signals in bounds."""
    model = model.to(dtype).to_empty(device="cpu").eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            nn.init.constant_(parameter, float(name.endswith("weight")))
    return model


@pytest.fixture(scope="session")
def sd15_folder(
    benchmark: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Stable Diffusion 1.5 with a ControlNet as it lies on a disk, float16: 2.9 GB."""
    torch.manual_seed(0)
    parts = benchmark("architectures").full_size_parts("sd15")
    made = {name: fill(part, torch.float16) for name, part in parts.items()}
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "pocket-sd15" / "tokenizer")
    pipeline = StableDiffusionControlNetPipeline(
        **made,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("model") / "sd15"
    pipeline.save_pretrained(folder)
    return folder
