"""What each way to place a model needs, and which one a card gets."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from threedis_diffusers.memory.fitting import pictures_at_once
from threedis_diffusers.memory.needs import (
    LAYERS_IN_FLIGHT,
    LIBRARIES,
    SPARE,
    Drawing,
    Work,
    memory_needs,
    work_memory,
)
from threedis_diffusers.memory.placing import choose_offload
from threedis_diffusers.memory.sizes import PartSize, size_in_files

GIB = 2**30
TAKEN = 0.6
"""GiB of a card that the desktop and the driver have."""
CARDS = (8, 12, 16, 24, 48, 80)
CHOICES = {
    ("sd15", "float16"): ("none", "none", "none", "none", "none", "none"),
    ("sd15", "float32"): ("none", "none", "none", "none", "none", "none"),
    ("sd21", "float16"): ("none", "none", "none", "none", "none", "none"),
    ("sdxl", "float16"): ("group", "model", "none", "none", "none", "none"),
    ("sdxl", "float32"): ("group", "group", "group", "none", "none", "none"),
    ("flux", "bfloat16"): ("group", "group", "group", "model", "none", "none"),
    ("sd35", "bfloat16"): ("group", "group", "group", "model", "none", "none"),
    ("sd35-medium", "bfloat16"): ("group", "model", "model", "none", "none", "none"),
    ("z-image", "bfloat16"): ("group", "group", "group", "model", "none", "none"),
    ("z-image-lite", "bfloat16"): ("group", "group", "model", "model", "none", "none"),
    ("qwen-image", "bfloat16"): ("group", "group", "group", "group", "model", "none"),
}
"""What auto takes on each card."""


@pytest.fixture(scope="module")
def memory_of_models(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("memory_of_models")


@pytest.mark.parametrize(("family", "dtype"), CHOICES)
def test_a_card_gets_the_roomiest_way_that_fits(
    memory_of_models: ModuleType, family: str, dtype: str
) -> None:
    needs = memory_of_models.needs(family, dtype, memory_of_models.part_sizes(family))
    free = [int((card - TAKEN) * GIB) for card in CARDS]
    assert tuple(choose_offload(needs, one) for one in free) == CHOICES[family, dtype]


def test_what_fits_nowhere_is_placed_as_frugally_as_can_be() -> None:
    needs = memory_needs({"unet": PartSize(10**9, 10**8)}, 2, Work(), on_cpu=False)
    assert choose_offload(needs, 0) == "sequential"
    assert choose_offload(needs, None) == "none"  # a device that does not say


def test_each_way_needs_what_it_holds_at_once() -> None:
    sizes = {"unet": 100, "controlnet": 50, "text_encoder": 120, "vae": 10}
    parts = {name: PartSize(count, count // 10) for name, count in sizes.items()}
    work = Work(step=7, decode=30)
    needs = memory_needs(parts, bytes_each=2, work=work, on_cpu=False)
    assert {need.offload: need.device - SPARE for need in needs} == {
        "none": 560 + 30,
        "model": 300 + 7,
        "group": 30 + LAYERS_IN_FLIGHT * 24,
        "sequential": 30 + 24,
    }
    assert {need.main for need in needs} == {560 + LIBRARIES}
    (need,) = memory_needs(parts, bytes_each=4, work=work, on_cpu=True)
    assert (need.offload, need.device, need.main) == ("none", 0, 1120 + 30 + LIBRARIES)


def test_a_part_alone_needs_what_it_takes_itself() -> None:
    needs = memory_needs({"checkpoint": PartSize(10, 4)}, 2, Work(), on_cpu=False)
    assert {need.offload: need.device for need in needs}["model"] == 20 + SPARE


def test_the_keys_and_values_that_are_kept_for_a_run_are_counted(
    memory_of_models: ModuleType,
) -> None:
    parts = memory_of_models.part_sizes("sdxl")
    configs = memory_of_models.CONFIGS["sdxl"]
    drawing = Drawing((1024, 1024), pictures=1, instances=16)

    def step(text_keys: int) -> int:
        unet = PartSize(1, 1, text_keys)
        return work_memory(configs, {**parts, "unet": unet}, drawing, 2, 4).step

    assert (step(parts["unet"].text_keys) - step(0)) / 1e6 == pytest.approx(461, abs=1)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux", "sd35", "z-image", "qwen-image"])
def test_more_pictures_and_instances_take_more_to_denoise_and_no_more_to_decode(
    memory_of_models: ModuleType, family: str
) -> None:
    parts, configs = memory_of_models.part_sizes(family), memory_of_models.CONFIGS[family]

    def work(**drawn: Any) -> Work:
        return work_memory(configs, parts, Drawing((512, 512), **drawn), 2, 2)

    one = work(pictures=1, instances=4)
    assert one.decode == work(pictures=4, instances=16).decode > 0
    assert one.step < work(pictures=1, instances=16).step < work(pictures=4, instances=16).step


def test_parameters_are_counted_by_headers_layer_by_layer(tmp_path: Any) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    save_file({"a.weight": torch.zeros(3, 4), "a.bias": torch.zeros(3)}, first)
    save_file({"b.attn2.to_k.weight": torch.zeros(2, 5, dtype=torch.float16)}, second)
    assert size_in_files([first, second]) == PartSize(25, largest_layer=15, text_keys=2)


@pytest.mark.parametrize(("free", "fit"), [(0, 1), (10, 1), (20, 2), (39, 3), (40, 4), (90, 4)])
def test_as_many_pictures_go_together_as_there_is_room_for(free: int, fit: int) -> None:
    def work(count: int) -> Work:
        return Work(step=10 * count, decode=5)

    assert pictures_at_once(free + SPARE, work, most=4) == fit


def test_a_third_text_encoder_works_alone_as_the_others_do(memory_of_models: ModuleType) -> None:
    parts = memory_of_models.part_sizes("sd35")
    modes = {need.offload: need.device for need in memory_needs(parts, 2, Work(), on_cpu=False)}
    together = parts["transformer"].parameters + parts["controlnet"].parameters
    assert modes["model"] == 2 * together + SPARE
