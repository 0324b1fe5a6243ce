"""Options of flux are refused before anything is loaded, in one line that says what to do."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest

from threedis_core.errors import OptionError
from threedis_core.plugin.options import validate_options
from threedis_core.values.schedule import StepRange
from threedis_diffusers.joint.schedule import control_schedule, default_i2i_steps
from threedis_flux.backend import FluxRenderer
from threedis_flux.options import UNFIT_CACHES, FirstBlockCache, FluxOptions, TaylorSeerCache


def options(**values: Any) -> FluxOptions:
    return validate_options(FluxOptions, values, "renderer 'flux'")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"i2i_step": 3}, "Did you mean 'i2i_steps'"),
        ({"tokens_per_prompt": 0}, "1..512 tokens"),
        ({"tokens_per_prompt": 513}, "1..512 tokens"),
        ({"tokens_per_prompt": "all"}, "tokens_per_prompt"),
        ({"t2t_steps": -1}, "t2t_steps is -1"),
        ({"i2t": False, "i2t_steps": 4}, "i2t is off, but i2t_steps is 4"),
        ({"attention": "sparse"}, "attention is 'sparse'"),
        ({"attention_backend": "flex", "attention": "dense"}, "carries out attention=block_mask"),
        ({"fuse_qkv": True, "loras": [{"path": "a"}]}, "fuse_qkv joins plain weights"),
        ({"fuse_qkv": True, "depth_lora": "a"}, "fuse_qkv joins plain weights"),
        ({"cache": {"threshold": 0}}, "cache.first_block.threshold is 0"),
        ({"cache": "taylor"}, "expected first_block or taylorseer"),
        ({"cache": {"name": "mag"}}, "cache mag does not go together with the hook"),
        ({"cache": {"name": "taylorseer", "interval": 1}}, "interval is 1"),
        ({"depth_lora": {"weight": 1}}, "path is missing"),
    ],
)
def test_a_wrong_option_gives_one_clear_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match="flux") as caught:
        options(**values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "backend",
    [
        *("flash", "flash_varlen", "flash_hub", "flash_varlen_hub", "_flash_3", "_flash_varlen_3"),
        *("sage", "sage_varlen", "xformers", "aiter_fa2_hub", "_native_flash"),
    ],
)
def test_an_attention_backend_that_could_lose_the_region_mask_is_refused(backend: str) -> None:
    with pytest.raises(OptionError, match="'native', 'cudnn', 'efficient', 'math' or 'flex'"):
        options(attention_backend=backend)


def test_an_attention_backend_may_be_spelled_as_in_diffusers() -> None:
    assert options(attention_backend="_native_cudnn").attention_backend == "cudnn"


def test_a_depth_lora_goes_on_the_base_model_unless_another_is_named() -> None:
    assert options().model == "black-forest-labs/FLUX.1-Depth-dev"
    assert options(depth_lora="owner/lora").model == "black-forest-labs/FLUX.1-dev"
    assert options(depth_lora={"path": "a", "weight": 0.8}, model="b").model == "b"


def test_the_cache_is_a_switch_or_a_threshold() -> None:
    assert options(cache=True).cache == FirstBlockCache()
    assert options(cache=False).cache is None
    assert options(cache={"threshold": 0.2}).cache == FirstBlockCache(threshold=0.2)
    assert options(cache="taylorseer").cache == TaylorSeerCache()
    again = FluxOptions(**options(cache={"name": "taylorseer", "order": 2}).model_dump())
    assert again.cache == TaylorSeerCache(order=2)


def test_the_refused_caches_are_those_of_diffusers_that_are_left() -> None:
    kinds = {name for name in dir(diffusers) if name.endswith("CacheConfig")}
    kinds |= {"PyramidAttentionBroadcastConfig"}
    words = {name.replace("_", "") for name in (*UNFIT_CACHES, "first_block", "taylorseer")}
    assert {kind.removesuffix("Config").removesuffix("Cache").lower() for kind in kinds} == words


@pytest.mark.parametrize(
    ("size", "steps"),
    [
        ((128, 128), 4),
        ((512, 512), 4),
        ((768, 768), 3),
        ((1024, 576), 3),
        ((1024, 1024), 2),
        ((2048, 1024), 2),
    ],
)
def test_i2i_is_on_for_the_published_steps_of_the_nearest_side(
    size: tuple[int, int], steps: int
) -> None:
    assert default_i2i_steps(*size) == steps


def ranges(steps: int, **values: Any) -> dict[str, int | None]:
    schedule = control_schedule(options(**values), 1024, 1024, steps)
    assert all(known.start == 0 for known in schedule.ranges.values())
    return {name: known.stop for name, known in schedule.ranges.items()}


def test_by_default_all_controls_are_on_to_the_end_but_i2i() -> None:
    everywhere = {"texts": None, "i2t": None, "t2i": None, "t2t": None}
    assert ranges(20) == {**everywhere, "i2i": 2}


@pytest.mark.parametrize(("steps", "i2i", "hard"), [(20, 5, 12), (28, 7, 17), (4, 1, 2), (2, 1, 1)])
def test_step_counts_scale_with_the_length_of_the_run(steps: int, i2i: int, hard: int) -> None:
    made = ranges(steps, i2i_steps=5, texts_steps=12, t2i_steps=0)
    assert made == {"i2i": i2i, "t2i": 0, "i2t": hard, "t2t": hard, "texts": hard}


def test_the_former_name_of_texts_steps_is_understood_and_not_shown() -> None:
    old = options(hard_steps=10)
    assert old == options(texts_steps=10)
    assert old.model_dump()["texts_steps"] == 10
    assert options(control_steps=10) == old, "as U-Nets call it"
    assert "hard_steps" not in old.model_dump()
    with pytest.raises(OptionError) as caught:
        options(hard_step=10)
    assert "texts_steps" in str(caught.value)
    assert "hard_steps" not in str(caught.value)
    with pytest.raises(OptionError, match=r"(texts|hard)_steps is -1"):
        options(hard_steps=-1)
    with pytest.raises(OptionError, match="hard_steps"):
        options(hard_steps=1, texts_steps=2)


def test_without_texts_after_half_the_steps_nothing_is_controlled_there() -> None:
    phases = list(control_schedule(options(texts_steps=10), 1024, 1024, 20).phases(20))
    assert [(phase.start, phase.stop) for phase in phases] == [(0, 2), (2, 10), (10, 20)]
    assert phases[-1].controls == frozenset()


def test_a_control_that_is_switched_off_is_never_on() -> None:
    assert set(ranges(20, i2i=False, t2t=False)) == {"texts", "i2t", "t2i"}
    empty = control_schedule(options(texts_steps=0), 512, 512, 20)
    assert all(known == StepRange(0, 0) for known in empty.ranges.values())


def test_a_default_side_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError, match=r"default_side is 1000.*use 992"):
        _ = FluxRenderer(options(default_side=1000)).capabilities


def test_a_scheduler_that_flux_cannot_run_on_is_refused() -> None:
    assert FluxOptions(scheduler="flowmatcheuler").scheduler == "FlowMatchEulerDiscreteScheduler"
    with pytest.raises(OptionError, match=r"no FLUX\.1 scheduler.*FlowMatchLCMScheduler"):
        FluxOptions(scheduler="ddim")
