"""The hook against the golden forwards, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from threedis_core.attention import FusionPlan
from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.unet.attention import attached
from threedis_ldm3d.conditions import LayoutConditions
from threedis_ldm3d.hook import ADAPTER, FUSION, LayoutHook
from threedis_ldm3d.layout_adapter import LayoutAdapter

TOLERANCE = 1e-4
BOTH = frozenset({ADAPTER, FUSION})
BOXES = [(0.1, 0.1, 0.5, 0.6), (0.4, 0.3, 0.9, 0.9), (0.0, 0.5, 0.3, 1.0)]
Boxes = Sequence[Sequence[float]]
Forward = Callable[..., Tensor]


@pytest.fixture
def forward(unet: UNet2DConditionModel, adapter: LayoutAdapter) -> Forward:
    """One pass of the U-Net; ``texts``: B negatives, then per picture global and instances."""

    @torch.no_grad()
    def run(
        boxes: Sequence[Boxes],
        texts: Tensor,
        pooled: Sequence[Tensor],
        sample: Tensor,
        controls: frozenset[str] = BOTH,
        size: tuple[int, int] = (128, 128),
        adapter: LayoutAdapter | None = adapter,
    ) -> Tensor:
        height, width = size
        masks = [picture_masks(some, height, width) for some in boxes]
        plan = FusionPlan(masks, (height // 8, width // 8))
        corners = [torch.tensor([list(box) for box in some]).reshape(-1, 4) for some in boxes]
        conditions = LayoutConditions(masks, corners, pooled, plan)
        hook = LayoutHook(unet, adapter, conditions, plan, texts)
        pictures = len(boxes)
        firsts = [len(texts) - sum(plan.counts[index:]) for index in range(pictures)]
        given = torch.cat([texts[: len(texts) - sum(plan.counts)], texts[firsts]])
        with attached(hook):
            hook.switch(controls)
            return unet(sample, 801, given).sample

    return run


def picture_masks(boxes: Boxes, height: int, width: int) -> Tensor:
    some = tuple(Box.from_xyxy(box) for box in boxes)
    regions = Regions(some, (None,) * len(some), height, width)
    return torch.from_numpy(regions.pixel_masks(height, width))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", ["adapter_forward_0", "adapter_forward_1"])
@pytest.mark.parametrize("variant", ["adapter_and_fuser", "fuser_only", "off"])
def test_a_forward_equals_the_published_one(
    case: str,
    variant: str,
    forward: Forward,
    golden_cases: dict[str, Any],
    golden_tensors: Callable[[str], dict[str, Tensor]],
) -> None:
    facts, tensors = golden_cases[case], golden_tensors(case)
    schedule = ControlSchedule(
        {
            ADAPTER: StepRange.first(facts["adapter_steps"]),
            FUSION: StepRange.first(facts["fuser_steps"]),
        }
    )
    made = forward(
        [facts["boxes"]],
        tensors["in.encoder_hidden_states"],
        [tensors["in.pooled"][1:, 0]],
        tensors["in.sample"],
        schedule.active(facts["steps"][variant]),
        (facts["height"], facts["width"]),
    )
    expected = tensors[f"out.{variant}"]
    assert (made - expected).abs().max() / expected.std() < TOLERANCE


def batch(counts: Sequence[int]) -> tuple[list[Boxes], list[Tensor], list[Tensor]]:
    """Boxes, texts (negative, global, instances) and pooled texts of pictures."""
    boxes: list[Boxes] = [BOXES[:count] for count in counts]
    texts = [draw(2 + count, 77, 768, seed=count) for count in counts]
    return boxes, texts, [draw(count, 768, seed=9 + count) for count in counts]


def rows(texts: Sequence[Tensor]) -> Tensor:
    return torch.cat([text[:1] for text in texts] + [text[1:] for text in texts])


def test_pictures_of_a_batch_do_not_disturb_each_other(forward: Forward) -> None:
    counts = [2, 0, 3]
    boxes, texts, pooled = batch(counts)
    samples = draw(3, 4, 16, 16)
    together = forward(boxes, rows(texts), pooled, samples.repeat(2, 1, 1, 1))
    for index in range(3):
        sample = samples[index : index + 1].repeat(2, 1, 1, 1)
        alone = forward([boxes[index]], texts[index], [pooled[index]], sample)
        torch.testing.assert_close(together[index::3], alone, rtol=1e-4, atol=1e-4)


def test_without_guidance_the_conditional_half_is_the_same(forward: Forward) -> None:
    boxes, texts, pooled = batch([2])
    sample = draw(1, 4, 16, 16)
    guided = forward(boxes, texts[0], pooled, sample.repeat(2, 1, 1, 1))
    plain = forward(boxes, texts[0][1:], pooled, sample)
    torch.testing.assert_close(plain, guided[1:], rtol=1e-4, atol=1e-5)


def test_the_unconditional_half_knows_no_layout(
    forward: Forward, unet: UNet2DConditionModel
) -> None:
    boxes, texts, pooled = batch([3])
    sample = draw(1, 4, 16, 16).repeat(2, 1, 1, 1)
    made = forward(boxes, texts[0], pooled, sample)
    with torch.no_grad():
        plain = unet(sample, 801, texts[0][:2]).sample
    torch.testing.assert_close(made[:1], plain[:1])
    assert not torch.allclose(made[1:], plain[1:], atol=1e-3)


@pytest.mark.parametrize("size", [(96, 160), (152, 120)])
def test_other_shapes_than_squares_are_served(forward: Forward, size: tuple[int, int]) -> None:
    boxes, texts, pooled = batch([2])
    sample = draw(1, 4, size[0] // 8, size[1] // 8).repeat(2, 1, 1, 1)
    with_adapter = forward(boxes, texts[0], pooled, sample, size=size)
    without = forward(boxes, texts[0], pooled, sample, frozenset({FUSION}), size)
    assert with_adapter.isfinite().all()
    assert not torch.allclose(with_adapter, without, atol=1e-3)


def test_a_picture_that_an_instance_fills_has_no_background_and_is_finite(
    forward: Forward,
) -> None:
    _, texts, pooled = batch([1])
    sample = draw(1, 4, 16, 16).repeat(2, 1, 1, 1)
    assert forward([[(0.0, 0.0, 1.0, 1.0)]], texts[0], pooled, sample).isfinite().all()


def test_without_an_adapter_all_layers_have_the_fusion(forward: Forward) -> None:
    boxes, texts, pooled = batch([2])
    sample = draw(1, 4, 16, 16).repeat(2, 1, 1, 1)
    fused = forward(boxes, texts[0], pooled, sample, frozenset({FUSION}))
    without = forward(boxes, texts[0], pooled, sample, adapter=None)
    assert torch.equal(without, fused)


def test_a_fresh_adapter_changes_nothing(forward: Forward, unet: UNet2DConditionModel) -> None:
    boxes, texts, pooled = batch([2])
    sample = draw(1, 4, 16, 16).repeat(2, 1, 1, 1)
    made = forward(
        boxes, texts[0], pooled, sample, frozenset({ADAPTER}), adapter=LayoutAdapter.for_unet(unet)
    )
    with torch.no_grad():
        assert torch.equal(made, unet(sample, 801, texts[0][:2]).sample)


def test_the_gradient_of_a_loss_reaches_every_weight(
    unet: UNet2DConditionModel, adapter: LayoutAdapter
) -> None:
    trained = LayoutAdapter(adapter.widths, adapter.text_width)
    trained.load_state_dict(adapter.state_dict())
    boxes, texts, pooled = batch([2])
    masks = [picture_masks(boxes[0], 128, 128)]
    plan = FusionPlan(masks, (16, 16))
    conditions = LayoutConditions(masks, [torch.tensor(boxes[0])], pooled, plan)
    hook = LayoutHook(unet, trained, conditions, plan, texts[0][1:])
    with attached(hook):
        hook.switch(frozenset({ADAPTER}))
        unet(draw(1, 4, 16, 16), 801, texts[0][1:2]).sample.square().sum().backward()
    still = [name for name, weight in trained.named_parameters() if not weight.grad.any()]
    assert still == []


@pytest.mark.parametrize("fails", [False, True])
def test_the_models_own_processors_come_back(
    fails: bool, forward: Forward, unet: UNet2DConditionModel
) -> None:
    before = list(map(id, unet.attn_processors.values()))
    boxes, texts, pooled = batch([2])
    sample = draw(1, 4, 16, 16).repeat(2, 1, 1, 1)
    if fails:
        with pytest.raises(RuntimeError):
            forward(boxes, texts[0], [pooled[0][:, :5]], sample)
    else:
        forward(boxes, texts[0], pooled, sample)
    assert list(map(id, unet.attn_processors.values())) == before
