"""The hook leaves no trace, fits the full-size model, and holds little."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel

from threedis_core.attention import JointPhases, JointRow
from threedis_core.errors import RenderError
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.joint.hook import attached
from threedis_diffusers.joint.lowering import always
from threedis_flux.arrangement import arrange_positions
from threedis_flux.attention import JointProcessor
from threedis_flux.backend import FluxRenderer
from threedis_flux.hook import FluxHook
from threedis_flux.options import FirstBlockCache, TaylorSeerCache

Request = Callable[..., RenderRequest]
CAT = ("a red cat", (0.1, 0.1, 0.5, 0.5))
DOG = ("a blue dog", (0.4, 0.4, 0.9, 0.9))
EVERYTHING = ControlSchedule({name: StepRange() for name in ("texts", "i2i", "i2t", "t2i", "t2t")})
MB = 2**20


def make_hook(
    transformer: FluxTransformer2DModel,
    texts: list[torch.Tensor],
    masks: list[np.ndarray],
    lowering: str,
) -> FluxHook:
    """The hook with everything on, for pictures of these texts and masks."""
    rows = [JointRow(*pair) for pair in zip(texts, masks, strict=True)]
    phases = JointPhases(rows, EVERYTHING, always(lowering), torch.device("cpu"))
    return FluxHook(transformer, phases)


@pytest.fixture(scope="module")
def full_size() -> FluxTransformer2DModel:
    """FLUX.1-Depth's transformer without weights."""
    with torch.device("meta"):
        return FluxTransformer2DModel(in_channels=128, out_channels=64, guidance_embeds=True)


def test_the_hook_attaches_to_every_block_of_the_full_size_model_and_holds_little(
    full_size: FluxTransformer2DModel,
) -> None:
    """1024 px, 16 instances, 200 tokens a prompt in bfloat16, as FLUX.1 has them."""
    boxes = tuple(
        Box.from_xyxy((x / 4, y / 4, x / 4 + 0.3 * (x < 3) + 0.25 * (x == 3), y / 4 + 0.25))
        for x in range(4)
        for y in range(4)
    )
    masks = Regions(boxes, (None,) * 16, 1024, 1024).token_masks(64, 64)
    texts = torch.zeros(17, 200, full_size.config.joint_attention_dim, dtype=torch.bfloat16)
    own = dict(full_size.attn_processors)
    hook = make_hook(full_size, [texts], [masks], "segments")
    with attached(hook):
        hooked = full_size.attn_processors
        assert len(hooked) == 57
        assert all(isinstance(one, JointProcessor) for one in hooked.values())
        assert texts.nbytes <= hook.memory < 64 * MB
    assert full_size.attn_processors == own


def test_the_models_own_processors_come_back_after_an_exception(
    golden_transformer: FluxTransformer2DModel,
) -> None:
    own = dict(golden_transformer.attn_processors)
    texts, masks = torch.zeros(2, 4, 24), np.ones((1, 4, 4), dtype=bool)
    masks[:, 2:] = False
    hook = make_hook(golden_transformer, [texts], [masks], "dense")

    def fail() -> None:
        with attached(hook):
            assert golden_transformer.attn_processors != own
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert golden_transformer.attn_processors == own
    assert not golden_transformer._forward_pre_hooks
    assert not golden_transformer._forward_hooks


@pytest.mark.parametrize(("lowering", "arranges"), [("dense", False), ("block_mask", True)])
def test_only_a_lowering_that_arranges_the_image_tokens_has_hooks_for_it(
    lowering: str, arranges: bool, golden_transformer: FluxTransformer2DModel
) -> None:
    texts, masks = torch.zeros(2, 4, 24), np.ones((1, 4, 4), dtype=bool)
    masks[:, 2:] = False
    hook = make_hook(golden_transformer, [texts], [masks], lowering)
    with attached(hook):
        assert bool(golden_transformer.pos_embed._forward_hooks) == arranges
        assert bool(golden_transformer._forward_hooks) == arranges
    assert not golden_transformer.pos_embed._forward_hooks
    assert not golden_transformer._forward_hooks


def test_a_lowering_that_cannot_be_made_leaves_no_trace(
    golden_transformer: FluxTransformer2DModel,
) -> None:
    texts, masks = [torch.zeros(2, 4, 24)] * 2, [np.ones((1, 4, 4), dtype=bool)] * 2
    masks[1] = np.ones((1, 4, 5), dtype=bool)
    hook = make_hook(golden_transformer, texts, masks, "dense")
    with pytest.raises(RenderError), attached(hook):
        pass
    assert not golden_transformer._forward_pre_hooks


def test_positions_follow_the_image_tokens() -> None:
    rotary = torch.arange(5)[:, None].float(), -torch.arange(5)[:, None].float()
    order = torch.tensor([[2, 0, 1], [0, 1, 2]])
    cosines, sines = arrange_positions(rotary, order)
    assert cosines[..., 0].tolist() == [[0, 1, 4, 2, 3], [0, 1, 2, 3, 4]]
    assert torch.equal(sines, -cosines)


@pytest.fixture
def cached(renderer: FluxRenderer) -> Callable[[float], FluxRenderer]:
    def make(threshold: float) -> FluxRenderer:
        cache = FirstBlockCache(threshold=threshold)
        changes = {"cache": cache, "texts_steps": 10, "steps": 6}
        return FluxRenderer(renderer.options.model_copy(update=changes))

    return make


def test_the_first_block_cache_starts_anew_in_each_phase_and_each_run(
    cached: Callable[[float], FluxRenderer], pipeline_folder: Path, make_request: Request
) -> None:
    """The texts are shorter after ``texts_steps``: what was kept before would not fit."""
    requests = [make_request(CAT, DOG, seed=1), make_request(CAT, seed=2)]

    def pixels(renderer: FluxRenderer) -> list[np.ndarray]:
        return [np.asarray(result.image) for result in renderer.render(requests)]

    never, always = cached(1e-9), cached(1e9)
    plain = FluxRenderer(never.options.model_copy(update={"cache": None}))
    for expected, made in zip(pixels(plain), pixels(never), strict=True):
        assert np.abs(expected.astype(int) - made.astype(int)).max() <= 2
    first, again = pixels(always), pixels(always)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first[0], pixels(plain)[0])
    alone = np.asarray(always.render(requests[1:])[0].image)
    assert np.array_equal(alone, first[1])


def test_taylorseer_starts_anew_in_each_phase_and_each_run(
    renderer: FluxRenderer, make_request: Request
) -> None:
    requests = [make_request(CAT, DOG, seed=1), make_request(CAT, seed=2)]

    def pixels(steps: int, **cache: int) -> list[np.ndarray]:
        changes = {"texts_steps": 10, "steps": 8}
        if steps:
            changes["cache"] = TaylorSeerCache(warmup=steps, **cache)
        made = FluxRenderer(renderer.options.model_copy(update=changes))
        results = [*made.render(requests), *made.render(requests[1:])]
        return [np.asarray(result.image) for result in results]

    plain, never, foretold = pixels(0), pixels(99), pixels(1, interval=3)
    for expected, made in zip(plain, never, strict=True):
        assert np.abs(expected.astype(int) - made.astype(int)).max() <= 2
    assert not np.array_equal(foretold[0], plain[0])
    assert np.array_equal(foretold[1], foretold[2])
