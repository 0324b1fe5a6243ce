"""What ``auto`` picks: what was measured here, else what is known of the device, size and phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from threedis_core.attention import ChosenLowering, JointPlan, choose_lowering
from threedis_core.attention.block_mask import BLOCK, computed_share, image_order
from threedis_core.attention.joint_controls import CONTROLS
from threedis_core.attention.tuning import Race, Records, Setting, machine_of, phase_name

EVERYTHING = frozenset(CONTROLS)
TEXT_PHASE = EVERYTHING - {"i2i"}
NOTHING = Records(None)


def plan(instances: int, tokens: int = 16, side: int = 64) -> JointPlan:
    """Bands side by side on a square grid, with a background below."""
    masks = np.zeros((instances, side, side), np.bool_)
    for index, mask in enumerate(masks):
        width = side // instances
        mask[: side * 3 // 4, index * width : (index + 1) * width] = True
    return JointPlan((tokens,) * (1 + instances), masks)


def choose(
    made: JointPlan,
    device: str,
    controls: frozenset[str] = EVERYTHING,
    records: Records = NOTHING,
    head: int = 128,
    reorders: bool = True,
) -> ChosenLowering:
    where = torch.device(device), torch.float32
    return choose_lowering([made], controls, *where, head, records, reorders)


@pytest.mark.parametrize(
    ("device", "side", "instances", "name"),
    [
        ("cpu", 64, 4, "segments"),
        ("cpu", 16, 4, "dense"),
        ("cpu", 64, 0, "dense"),
        ("mps", 64, 4, "dense"),
    ],
)
def test_auto_picks_by_device_and_size_and_says_why(
    device: str, side: int, instances: int, name: str
) -> None:
    choice = choose(plan(instances, side=side), device)
    assert choice.name == name
    assert choice.reason


def test_auto_counts_the_text_too() -> None:
    assert choose(plan(8, tokens=200, side=16), "cpu").name == "segments"


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that says it has a GPU with triton."""
    monkeypatch.setattr("threedis_core.attention.choice.machine_of", lambda device: "a GPU")
    monkeypatch.setattr("threedis_core.attention.choice.find_spec", lambda name: object())
    return monkeypatch


@pytest.mark.parametrize(
    ("controls", "tokens", "name"),
    [
        (EVERYTHING, 16, "block_mask"),
        (EVERYTHING, 200, "block_mask"),
        (TEXT_PHASE, 16, "dense"),
        (TEXT_PHASE, 200, "dense"),
    ],
)
def test_a_gpu_takes_a_block_mask_only_in_a_phase_where_it_skips_much(
    controls: frozenset[str], tokens: int, name: str, on_cuda: Any
) -> None:
    made = plan(4, tokens)
    choice = choose(made, "cuda", controls)
    assert choice.name == name
    assert f"{computed_share(made, controls):.0%}" in choice.reason


def test_a_gpu_takes_a_block_mask_only_where_it_can_be_compiled(
    on_cuda: pytest.MonkeyPatch,
) -> None:
    on_cuda.setattr("threedis_core.attention.choice.find_spec", lambda name: None)
    assert choose(plan(4), "cuda").name == "dense"
    assert choose(plan(4, side=16), "cuda").name == "dense"


@pytest.mark.parametrize("controls", [EVERYTHING, TEXT_PHASE], ids=["i2i", "text"])
def test_the_share_of_computed_blocks_is_that_of_blocks_with_a_permitted_pair(
    controls: frozenset[str],
) -> None:
    made = plan(3, tokens=40, side=16)
    order = made.text_tokens + image_order(made)
    labels = made.labels[np.concatenate([np.arange(made.text_tokens), order])]
    pairs = made.permissions(controls)[labels][:, labels]
    starts = np.arange(0, made.tokens, BLOCK)
    computed = np.add.reduceat(np.add.reduceat(pairs.astype(int), starts, 0), starts, 1) > 0
    assert computed_share(made, controls) == computed.mean()


def race(made: JointPlan, controls: frozenset[str], seconds: dict[str, float]) -> Race:
    setting = Setting(
        device=machine_of(torch.device("cpu")),
        torch=torch.__version__,
        dtype="float32",
        head=128,
        phase=phase_name(controls),
        image_tokens=made.image_tokens,
        text_tokens=made.text_tokens,
        instances=len(made.masks),
    )
    return Race(setting, seconds)


def test_a_measurement_decides_for_its_phase_size_and_heads_alone(tmp_path: Any) -> None:
    records = Records(tmp_path / "lowerings.json")
    made = plan(4)
    records.keep([race(made, TEXT_PHASE, {"dense": 1.0, "segments": 1.5})])
    choice = choose(made, "cpu", TEXT_PHASE, records)
    assert choice.name == "dense"
    assert "1.50 times faster" in choice.reason
    assert choose(plan(5), "cpu", TEXT_PHASE, records).name == "dense"
    for other in (
        choose(made, "cpu", EVERYTHING, records),
        choose(plan(4, side=63), "cpu", TEXT_PHASE, records),
        choose(plan(4, tokens=200), "cpu", TEXT_PHASE, records),
        choose(made, "cpu", TEXT_PHASE, records, head=64),
    ):
        assert other.name == "segments"
        assert "threedis tune" not in other.reason


@pytest.mark.parametrize(
    ("others", "name"), [({"dense": 2.0, "segments": 1.5}, "segments"), ({}, "segments")]
)
def test_a_caller_that_leaves_the_image_tokens_in_place_is_never_given_a_block_mask(
    others: dict[str, float], name: str, tmp_path: Any
) -> None:
    records, made = Records(tmp_path / "lowerings.json"), plan(4)
    records.keep([race(made, TEXT_PHASE, {"block_mask": 1.0, **others})])
    assert choose(made, "cpu", TEXT_PHASE, records).name == "block_mask"
    assert choose(made, "cpu", TEXT_PHASE, records, reorders=False).name == name
