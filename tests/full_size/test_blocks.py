"""Single blocks of SDXL and FLUX.1 at full width: every way to compute the hook agrees."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor

from threedis_core.attention import FusionPlan, JointPhases, JointPlan, JointRow
from threedis_core.testing.samples import sample_layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached as jointly_attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.schedule import SCHEDULED
from threedis_diffusers.unet.attention import RegionHook, attached
from threedis_flux.hook import FluxHook

from .conftest import fill

TOLERANCE = 1e-4
"""Of the output's standard deviation."""


@torch.no_grad()
def test_an_sdxl_block_of_full_width_joins_the_prompts_as_in_double_precision(
    benchmark: Callable[[str], ModuleType],
) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**benchmark("architectures").UNETS["sdxl"])
    blocks = [one for one in unet.mid_block.modules() if isinstance(one, BasicTransformerBlock)]
    block = fill(blocks[0], torch.float32)
    regions = Regions.from_layout(sample_layout(8), 1024, 1024)
    plan = FusionPlan([torch.from_numpy(regions.pixel_masks(1024, 1024))], (128, 128))
    text, hidden = torch.randn(10, 77, 2048), torch.randn(2, 1024, 1280)

    def forward(dtype: torch.dtype) -> Tensor:
        with attached(hook := RegionHook(block.to(dtype), plan, text.to(dtype))):
            hook.switch(on=True)
            return block(hidden.to(dtype), encoder_hidden_states=text[:2].to(dtype))

    made, expected = forward(torch.float32), forward(torch.float64)
    assert (made - expected).abs().max() / expected.std() < TOLERANCE


@pytest.fixture(scope="module")
def flux(benchmark: Callable[[str], ModuleType]) -> FluxTransformer2DModel:
    """FLUX.1-Depth with one double and one single block of its 57."""
    torch.manual_seed(0)
    config = benchmark("architectures").FLUX_DEPTH | {"num_layers": 1, "num_single_layers": 1}
    with torch.device("meta"):
        made = FluxTransformer2DModel(**config)
    return fill(made, torch.float32)


@pytest.mark.parametrize("off", ["", "i2i"])
def test_flux_blocks_of_full_width_give_the_same_by_every_lowering(
    off: str, flux: FluxTransformer2DModel
) -> None:
    controls = {name: StepRange() for name in SCHEDULED - {off}}
    made = {
        name: flux_forward(flux, controls, name) for name in ("dense", "segments", "block_mask")
    }
    for name in ("segments", "block_mask"):
        assert (made[name] - made["dense"]).abs().max() / made["dense"].std() < TOLERANCE


def test_texts_that_nobody_may_see_are_as_good_as_absent(flux: FluxTransformer2DModel) -> None:
    """In a batch the shorter texts are padded; what pads them changes nothing."""
    controls = {name: StepRange() for name in SCHEDULED}
    alone = flux_forward(flux, controls, "dense", counts=(2,))
    padded = flux_forward(flux, controls, "segments", counts=(2, 4))
    assert (padded[:1] - alone).abs().max() / alone.std() < TOLERANCE


@torch.no_grad()
def flux_forward(
    flux: FluxTransformer2DModel,
    controls: dict[str, StepRange],
    lowering: str,
    counts: tuple[int, ...] = (4,),
    side: int = 16,
) -> Tensor:
    """One call for pictures of ``side`` x ``side`` tokens with so many instances each."""
    masks = [boxes(count, side) for count in counts]
    texts, tokens = [], []
    for count in counts:
        torch.manual_seed(count)
        texts.append(torch.randn(1 + count, 16, 4096))
        tokens.append(torch.randn(side * side, 128))
    rows = [JointRow(*pair) for pair in zip(texts, masks, strict=True)]
    cpu = torch.device("cpu")
    phases = JointPhases(rows, ControlSchedule(controls), always(lowering), cpu)
    positions = torch.cartesian_prod(torch.arange(1), torch.arange(side), torch.arange(side))
    with jointly_attached(FluxHook(flux, phases)):
        return flux(
            hidden_states=torch.stack(tokens),
            encoder_hidden_states=phases.plain_text,
            pooled_projections=torch.ones(len(counts), 768),
            timestep=torch.full((len(counts),), 0.5),
            guidance=torch.full((len(counts),), 10.0),
            img_ids=positions.float(),
            txt_ids=torch.zeros(16, 3),
        ).sample


def boxes(instances: int, side: int) -> np.ndarray:
    """The sample layout's boxes as token masks, shape (instances, side, side)."""
    regions = Regions.from_layout(sample_layout(instances), side, side)
    masks = regions.token_masks(side, side)
    assert JointPlan((16,) * (1 + instances), masks).cells  # every region has tokens of its own
    return masks
