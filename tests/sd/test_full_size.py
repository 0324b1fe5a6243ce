"""The hook fits the architectures as they are published, on the meta device: no weights, no memory.

The configurations are those of the published models, as far as attention is concerned.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, UNet2DConditionModel

from threedis_core.attention import FusionPlan
from threedis_diffusers.unet.attention import (
    RegionHook,
    RegionProcessor,
    attached,
    cross_attention_layers,
)

PARAMETERS = {"sd15": 859.5e6, "sd21": 865.9e6, "sdxl": 2567.5e6}
LAYERS = {"sd15": 16, "sd21": 16, "sdxl": 70}
CONTROLNET_LAYERS = {"sd15": 7, "sd21": 7, "sdxl": 34}
BOXES = ((0.1, 0.1, 0.5, 0.9), (0.4, 0.3, 0.95, 0.7), (0.8, 0.0, 1.0, 0.05))
COUNTS = (2, 0, 3)
"""Instances of each picture of the batch."""


@pytest.fixture(scope="module")
def unets(benchmark: Callable[[str], ModuleType]) -> dict[str, UNet2DConditionModel]:
    configurations = benchmark("architectures").UNETS
    with torch.device("meta"):
        return {name: UNet2DConditionModel(**one).half() for name, one in configurations.items()}


@pytest.fixture(params=["sd15", "sd21", "sdxl"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def unet(family: str, unets: dict[str, UNet2DConditionModel]) -> UNet2DConditionModel:
    return unets[family]


def fusion_plan(width: int, height: int) -> FusionPlan:
    masks = torch.zeros(len(BOXES), height, width)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES, strict=True):
        mask[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)] = 1
    return FusionPlan([masks[:count] for count in COUNTS], (height // 8, width // 8))


def embeddings(rows: int, unet: UNet2DConditionModel) -> torch.Tensor:
    width = unet.config.cross_attention_dim
    return torch.empty(rows, 77, width, dtype=torch.float16, device="meta")


def test_the_configurations_are_those_of_the_published_sizes(
    family: str, unet: UNet2DConditionModel
) -> None:
    parameters = sum(parameter.numel() for parameter in unet.parameters())
    assert parameters == pytest.approx(PARAMETERS[family], rel=1e-3)


def test_the_hook_takes_the_place_of_every_cross_attention_processor_and_of_no_other(
    family: str, unet: UNet2DConditionModel
) -> None:
    before = dict(unet.attn_processors)
    hook = RegionHook(unet, fusion_plan(512, 512), embeddings(3 + 8, unet))
    with attached(hook):
        hook.switch(on=True)
        during = unet.attn_processors
        hooked = {name for name, one in during.items() if isinstance(one, RegionProcessor)}
        assert len(hooked) == LAYERS[family]
        assert hooked == {name for name in before if ".attn2." in name}
    assert unet.attn_processors == before


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        *((family, ControlNetModel) for family in CONTROLNET_LAYERS),
        ("sdxl", ControlNetUnionModel),
    ],
)
def test_the_hook_finds_every_cross_attention_layer_of_a_controlnet(
    kind: Any, family: str, unet: UNet2DConditionModel
) -> None:
    with torch.device("meta"):
        controlnet = kind.from_unet(unet, load_weights_from_unet=False)
    assert len(list(cross_attention_layers(controlnet))) == CONTROLNET_LAYERS[family]


@pytest.mark.parametrize(
    ("size", "guided"),
    [((512, 512), True), ((768, 768), False), ((1024, 1024), True), ((1224, 840), True)],
)
def test_the_plan_fits_every_layer_of_a_step(
    size: tuple[int, int], guided: bool, family: str, unet: UNet2DConditionModel
) -> None:
    width, height = size
    negatives = len(COUNTS) if guided else 0
    batch, rows = len(COUNTS) + negatives, negatives + len(COUNTS) + sum(COUNTS)
    hook = RegionHook(unet, fusion_plan(width, height), embeddings(rows, unet))
    latents = torch.empty(batch, 4, height // 8, width // 8, dtype=torch.float16, device="meta")
    with attached(hook):
        hook.switch(on=True)
        noise = unet(latents, torch.tensor(1), embeddings(batch, unet), **added(unet, batch))[0]
    assert noise.shape == latents.shape


def added(unet: UNet2DConditionModel, batch: int) -> dict[str, Any]:
    if unet.config.addition_embed_type is None:
        return {}
    pooled = torch.empty(batch, 1280, dtype=torch.float16, device="meta")
    time_ids = torch.empty(batch, 6, dtype=torch.float16, device="meta")
    return {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": time_ids}}
