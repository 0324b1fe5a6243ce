"""Stock processors with only their attention replaced do what a processor of our own does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from threedis_core.attention import CONTROLS, JointPhases, JointRow, Site
from threedis_core.errors import RenderError
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import JointHook, attached
from threedis_diffusers.joint.lowering import always
from threedis_diffusers.joint.processor import PlannedProcessor
from threedis_flux.hook import FluxHook

GRID = 4, 4
EVERYTHING = ControlSchedule({name: StepRange() for name in CONTROLS})


class StockHook(JointHook):
    """The kit's hook on FLUX, whose text has positions."""

    def given(self, kwargs: dict[str, Any], text: Tensor) -> dict[str, Any]:
        return {**super().given(kwargs, text), "txt_ids": torch.zeros(text.shape[1], 3)}


@pytest.fixture
def transformer() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=8,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        axes_dims_rope=(4, 6, 6),
    ).eval()


@pytest.fixture
def rows() -> list[JointRow]:
    masks = np.zeros((2, *GRID), np.bool_)
    masks[0, :2], masks[1, 1:, 2:] = True, True
    torch.manual_seed(1)
    return [JointRow(torch.randn(3, 4, 24), masks), JointRow(torch.randn(2, 5, 24), masks[:1])]


def phases(rows: list[JointRow], lowering: str) -> JointPhases:
    return JointPhases(rows, EVERYTHING, always(lowering), torch.device("cpu"))


@torch.no_grad()
def forward(transformer: FluxTransformer2DModel, text: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in GRID), indexing="ij")
    ids = torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1)
    return transformer(
        hidden_states=torch.randn(2, GRID[0] * GRID[1], 8, generator=generator),
        encoder_hidden_states=text,
        pooled_projections=torch.ones(2, 20),
        timestep=torch.full((2,), 0.5),
        img_ids=ids.float(),
        txt_ids=torch.zeros(text.shape[1], 3),
        return_dict=False,
    )[0]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("lowering", ["dense", "segments"])
def test_a_stock_processor_by_the_plan_equals_fluxs_own(
    lowering: str, fused: bool, transformer: FluxTransformer2DModel, rows: list[JointRow]
) -> None:
    if fused:
        transformer.fuse_qkv_projections()
    made: list[Tensor] = []
    for kind in (StockHook, FluxHook):
        own = phases(rows, lowering)
        with attached(kind(transformer, own)):
            made.append(forward(transformer, own.plain_text))
    plain = forward(transformer, phases(rows, lowering).plain_text)
    assert torch.equal(*made)
    assert (made[0] - plain).abs().max() > 1e-3


def test_compiled_blocks_attend_by_the_plan_in_each_phase(
    transformer: FluxTransformer2DModel, rows: list[JointRow]
) -> None:
    """The blocks are compiled (by the backend that does nothing more), the attention is not."""
    torch.compiler.reset()
    plan = phases(rows, "dense")
    with attached(StockHook(transformer, plan)):
        expected = forward(transformer, plan.plain_text)
    for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
        block.compile(backend="eager")
    plain = forward(transformer, plan.plain_text)
    with attached(StockHook(transformer, plan)):
        made = forward(transformer, plan.plain_text)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(forward(transformer, plan.plain_text), plain)
    assert (made - plain).abs().max() > 1e-3


def test_only_the_sites_that_are_named_are_hooked_and_all_come_back(
    transformer: FluxTransformer2DModel, rows: list[JointRow]
) -> None:
    own = dict(transformer.attn_processors)

    def site(name: str) -> Site | None:
        return "joint" if name.startswith("transformer_blocks") else None

    hook = JointHook(transformer, phases(rows, "dense"), site)

    def fail() -> None:
        with attached(hook):
            hooked = transformer.attn_processors
            assert [isinstance(one, PlannedProcessor) for one in hooked.values()] == [
                name.startswith("transformer_blocks") for name in own
            ]
            assert hook.memory > 0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert transformer.attn_processors == own
    assert not transformer._forward_pre_hooks


def test_a_plan_that_does_not_fit_the_model_call_is_told(
    transformer: FluxTransformer2DModel, rows: list[JointRow]
) -> None:
    class Textless(StockHook):
        def before(self, module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            return None

    own = phases(rows, "dense")
    with attached(Textless(transformer, own)), pytest.raises(RenderError, match="2 pictures of 28"):
        forward(transformer, own.plain_text)


@pytest.fixture
def attention_is_torchs_own() -> Iterator[None]:
    before = torch.nn.functional.scaled_dot_product_attention
    yield
    assert torch.nn.functional.scaled_dot_product_attention is before


@pytest.mark.usefixtures("attention_is_torchs_own")
def test_attention_outside_of_the_processors_stays_torchs(
    transformer: FluxTransformer2DModel, rows: list[JointRow]
) -> None:
    with attached(StockHook(transformer, phases(rows, "dense"))):
        heads = torch.randn(3, 1, 1, 2, 4)
        assert scaled_dot_product_attention(*heads).shape == (1, 1, 2, 4)
