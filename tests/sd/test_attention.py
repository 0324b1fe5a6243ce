"""The cross-attention hook against the golden forwards and the stock processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import (
    Attention,
    AttnProcessor2_0,
    IPAdapterAttnProcessor2_0,
)
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import threedis_diffusers.unet.fused_attention
from threedis_core.attention import FusionPlan
from threedis_core.errors import RenderError
from threedis_diffusers.unet.attention import (
    RegionHook,
    RegionProcessor,
    attached,
    cross_attention_layers,
)
from threedis_diffusers.unet.fused_attention import MOST_ROWS, fused_attention, heads_first

Tensors = Callable[[str], dict[str, Tensor]]
TOLERANCE = 1e-4


def box_masks(boxes: list[list[float]], height: int, width: int) -> Tensor:
    masks = torch.zeros(len(boxes), height, width)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)] = 1
    return masks


@torch.no_grad()
def forward(
    unet: UNet2DConditionModel, plan: FusionPlan, sample: Tensor, rows: Tensor, timestep: int = 601
) -> Tensor:
    """One U-Net pass; ``rows``: B negatives, then per picture global and instances."""
    pictures = plan.pictures
    first = [pictures + row for row in range(len(rows) - pictures)]
    globals_ = [first[sum(plan.counts[:picture])] for picture in range(pictures)]
    given = torch.cat([rows[:pictures], rows[globals_]])
    hook = RegionHook(unet, plan, rows)
    with attached(hook):
        hook.switch(on=True)
        return unet(sample, timestep, given).sample


@pytest.mark.parametrize("case", ["unet_forward_0", "unet_forward_1"])
@pytest.mark.parametrize("variant", ["box", "mask", "off"])
def test_a_forward_equals_the_published_hooks(
    case: str,
    variant: str,
    golden_unet: UNet2DConditionModel,
    golden_cases: dict[str, Any],
    golden_tensors: Tensors,
) -> None:
    facts, tensors = golden_cases[case], golden_tensors(case)
    height, width = facts["height"], facts["width"]
    masks = {
        "box": box_masks(facts["boxes"], height, width),
        "mask": tensors["in.masks"],
        "off": torch.zeros(0, height, width),
    }[variant]
    rows = tensors["in.encoder_hidden_states"][: 2 + len(masks)]
    plan = FusionPlan([masks], (height // 8, width // 8), facts["alpha"])
    made = forward(golden_unet, plan, tensors["in.sample"], rows, facts["timestep"])
    expected = tensors[f"out.{variant}"]
    assert (made - expected).abs().max() / expected.std() < TOLERANCE


def test_pictures_with_other_instance_counts_do_not_disturb_each_other(
    golden_unet: UNet2DConditionModel,
) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = [2, 0, 3]
    masks = [torch.rand(count, 64, 96, generator=generator).round() for count in counts]
    texts = [torch.randn(2 + count, 77, 24, generator=generator) for count in counts]
    samples = torch.randn(3, 4, 8, 12, generator=generator)
    rows = torch.cat([text[:1] for text in texts] + [text[1:] for text in texts])
    together = forward(golden_unet, FusionPlan(masks, (8, 12)), torch.cat([samples, samples]), rows)
    for index in range(3):
        sample = samples[index : index + 1].repeat(2, 1, 1, 1)
        alone = forward(golden_unet, FusionPlan([masks[index]], (8, 12)), sample, texts[index])
        torch.testing.assert_close(together[index::3], alone, rtol=1e-4, atol=1e-4)


def test_without_guidance_the_conditional_half_is_the_same(
    golden_unet: UNet2DConditionModel,
) -> None:
    generator = torch.Generator().manual_seed(0)
    plan = FusionPlan([torch.rand(2, 64, 64, generator=generator).round()], (8, 8))
    rows = torch.randn(4, 77, 24, generator=generator)
    sample = torch.randn(1, 4, 8, 8, generator=generator)
    guided = forward(golden_unet, plan, sample.repeat(2, 1, 1, 1), rows)
    hook = RegionHook(golden_unet, plan, rows[1:])
    with attached(hook), torch.no_grad():
        hook.switch(on=True)
        plain = golden_unet(sample, 601, rows[1:2]).sample
    torch.testing.assert_close(plain, guided[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bias": True, "out_bias": False},
        {"heads": 1, "dim_head": 24},
        {"norm_num_groups": 4},
        {"cross_attention_norm": "layer_norm"},
        {"qk_norm": "layer_norm"},
        {"residual_connection": True, "rescale_output_factor": 1.7},
    ],
)
@pytest.mark.parametrize("feature_map", [False, True])
@torch.no_grad()
def test_with_one_prompt_a_layer_does_what_the_stock_processor_does(
    settings: dict[str, Any], feature_map: bool
) -> None:
    torch.manual_seed(0)
    settings = {"heads": 3, "dim_head": 8, **settings}
    attn = Attention(query_dim=24, cross_attention_dim=16, **settings).eval()
    hidden = torch.randn(2, 24, 4, 4) if feature_map else torch.randn(2, 16, 24)
    text = torch.randn(2, 7, 16)
    ours = RegionProcessor(FusionPlan([torch.zeros(0, 32, 32)], (4, 4)), text)
    expected = AttnProcessor2_0()(attn, hidden, encoder_hidden_states=text)
    torch.testing.assert_close(ours(attn, hidden, encoder_hidden_states=text), expected)


@torch.no_grad()
def test_the_texts_keys_and_values_are_computed_once_a_run(
    golden_unet: UNet2DConditionModel,
) -> None:
    calls: list[int] = []
    layers = list(cross_attention_layers(golden_unet))
    handles = [
        part.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
        for layer in layers
        for part in (layer.to_k, layer.to_v)
    ]
    rows = torch.randn(4, 77, 24)
    hook = RegionHook(golden_unet, FusionPlan([torch.ones(2, 64, 64)], (8, 8)), rows)
    with attached(hook):
        hook.switch(on=True)
        for timestep in (900, 500, 100):
            golden_unet(torch.randn(2, 4, 8, 8), timestep, rows[:2])
    for handle in handles:
        handle.remove()
    assert calls == [len(rows)] * (2 * len(layers))


def rows_of_text(
    counts: tuple[int, ...], tokens: int = 80, heads: int = 3, words: int = 7, width: int = 8
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A query, keys, values and weights; ``counts``: the rows of each input."""
    torch.manual_seed(0)
    text = (sum(counts), heads, words, width)
    weights = [torch.rand(count, tokens).softmax(0) for count in counts]
    query = torch.randn(len(counts), tokens, heads, width).transpose(1, 2)
    return query, torch.randn(text), torch.randn(text), torch.cat(weights)


def weighted_sum(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, counts: tuple[int, ...]
) -> Tensor:
    """What fused attention is, written down plainly, in double precision."""
    inputs = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    scores = query.double()[inputs] @ keys.double().transpose(-1, -2) / query.shape[-1] ** 0.5
    attended = scores.softmax(-1) @ values.double() * weights[:, None, :, None].double()
    return torch.stack([part.sum(0) for part in attended.split(list(counts))])


COUNTS = [(1,), (1, 1), (41,), (1, 1, 1, 10, 1, 31)]


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize("scores", [1, 7 * 41 * 3, 2**17])
def test_joined_rows_give_the_weighted_sum_in_pieces_of_any_size(
    counts: tuple[int, ...], scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threedis_diffusers.unet.fused_attention, "SCORES", scores)
    query, keys, values, weights = rows_of_text(counts)
    made = fused_attention(query, heads_first(keys), heads_first(values), weights, counts)
    expected = weighted_sum(query, keys, values, weights, counts)
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("heads", "width"), [(8, 40), (8, 160), (20, 64)], ids=str)
def test_joined_rows_of_the_published_widths_give_the_weighted_sum(heads: int, width: int) -> None:
    query, keys, values, weights = rows_of_text((1, 9), 256, heads, 77, width)
    made = fused_attention(query, heads_first(keys), heads_first(values), weights, (1, 9))
    expected = weighted_sum(query, keys, values, weights, (1, 9))
    assert (made - expected).abs().max() / expected.std() < TOLERANCE


@pytest.mark.parametrize("counts", COUNTS)
def test_a_gradient_goes_through_the_rows_to_the_query(counts: tuple[int, ...]) -> None:
    query, *given = rows_of_text(counts)
    asked = query.double().requires_grad_()
    weighted_sum(asked, *given, counts).sum().backward()
    ours = query.requires_grad_()
    made = fused_attention(ours, *given, counts)
    made.sum().backward()
    torch.testing.assert_close(ours.grad, asked.grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("counts", [(1, 41), (1, 1, 1, 10, 1, 31)])
def test_many_rows_of_half_precision_are_attended_piece_by_piece(
    counts: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = threedis_diffusers.unet.fused_attention
    query, keys, values, weights = (part.bfloat16() for part in rows_of_text(counts))
    queries: list[Tensor] = []

    def attend(query: Tensor, *others: Tensor) -> Tensor:
        queries.append(query)
        return scaled_dot_product_attention(query, *others)

    monkeypatch.setattr(module, "scaled_dot_product_attention", attend)
    in_pieces = fused_attention(query, keys, values, weights, counts)
    assert len(queries) > 1
    assert max(query.numel() for query in queries) <= MOST_ROWS * 80 * 24
    queries.clear()
    monkeypatch.setattr(module, "MOST_ROWS", sum(counts))
    at_once = fused_attention(query, keys, values, weights, counts)
    assert len(queries) == 1
    assert in_pieces.dtype == torch.bfloat16
    torch.testing.assert_close(in_pieces, at_once)
    expected = weighted_sum(query, keys, values, weights, counts)
    torch.testing.assert_close(in_pieces.double(), expected, rtol=0.05, atol=0.05)


class StrangeProcessor(AttnProcessor2_0):
    """A processor of the user's own."""


def fail_in_the_middle(hook: RegionHook, layer: Attention) -> None:
    with attached(hook):
        hook.switch(on=True)
        assert isinstance(layer.processor, RegionProcessor)
        raise KeyError("in the middle of a run")


def test_the_models_own_processors_come_back_whatever_they_are(
    golden_unet: UNet2DConditionModel,
) -> None:
    layer = next(cross_attention_layers(golden_unet))
    stock = layer.processor
    layer.set_processor(StrangeProcessor())
    before = list(golden_unet.attn_processors.values())
    hook = RegionHook(golden_unet, FusionPlan([torch.ones(1, 8, 8)], (1, 1)), torch.zeros(3, 7, 24))
    with pytest.raises(KeyError):
        fail_in_the_middle(hook, layer)
    after = list(golden_unet.attn_processors.values())
    layer.set_processor(stock)
    assert all(own is again for own, again in zip(before, after, strict=True))


def test_only_cross_attention_is_hooked(golden_unet: UNet2DConditionModel) -> None:
    hook = RegionHook(golden_unet, FusionPlan([torch.ones(1, 8, 8)], (1, 1)), torch.zeros(3, 7, 24))
    with attached(hook):
        hook.switch(on=True)
        hooked = {
            name
            for name, processor in golden_unet.attn_processors.items()
            if isinstance(processor, RegionProcessor)
        }
        expected = {name for name in golden_unet.attn_processors if "attn2" in name}
    assert hooked == expected


def test_a_batch_of_another_size_is_refused() -> None:
    attn = Attention(query_dim=24, cross_attention_dim=16, heads=3, dim_head=8)
    processor = RegionProcessor(FusionPlan([torch.ones(1, 8, 8)], (4, 4)), torch.zeros(3, 7, 16))
    with pytest.raises(RenderError, match="batch of 5"):
        processor(attn, torch.zeros(5, 16, 24))


def test_a_unet_with_an_ip_adapter_is_refused(golden_unet: UNet2DConditionModel) -> None:
    layer = next(cross_attention_layers(golden_unet))
    own = layer.processor
    layer.set_processor(IPAdapterAttnProcessor2_0(hidden_size=8, cross_attention_dim=8))
    plan = FusionPlan([torch.ones(1, 8, 8)], (8, 8))
    try:
        with pytest.raises(RenderError, match="IP-Adapter"):
            RegionHook(golden_unet, plan, torch.zeros(2, 4, 8))
    finally:
        layer.set_processor(own)
