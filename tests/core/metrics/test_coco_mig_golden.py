"""``coco-mig`` against the published judge's own functions: numbers of our own making."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core import FoundBox, FoundMask, Instance, InstanceFinding, Layout, ScoreRequest
from threedis_core.metrics.coco_mig import CocoMig
from threedis_core.metrics.colours import RANGES, in_colour, named_colour
from threedis_core.plugin.discovery import load_plugins
from threedis_core.values.box import Box
from threedis_core.values.masks.mask import Mask
from threedis_core.values.masks.run_lengths import expand_runs

FOLDER = Path(__file__).parents[2] / "golden" / "coco_mig"
GOLDEN = json.loads((FOLDER / "cases.json").read_text("utf-8"))
SIDE = 512


def layout_of(case: Mapping[str, Any]) -> Layout:
    instances = tuple(
        Instance(prompt=one["label"], box=Box.from_xyxy(one["box"])) for one in case["instances"]
    )
    return Layout(prompt="a scene", instances=instances)


def finding_of(one: Mapping[str, Any]) -> InstanceFinding:
    """Detections lie in pixels of 512 x 512."""
    boxes = tuple(
        FoundBox(tuple(side / SIDE for side in xyxy), score)
        for xyxy, score in zip(one["detections"], one["scores"], strict=True)
    )
    masks = tuple(
        FoundMask(mask_of(mask), score)
        for mask, score in zip(one["masks"], one["mask_scores"], strict=True)
    )
    return InstanceFinding(boxes, masks)


def mask_of(code: Mapping[str, Any]) -> Mask | None:
    """The mask, or None for an empty one, which a ``Mask`` cannot be."""
    return Mask(**code) if expand_runs(code["counts"])[1::2].any() else None


def request_of(case: Mapping[str, Any]) -> ScoreRequest:
    findings = tuple(finding_of(one) for one in case["instances"])
    return ScoreRequest(layout_of(case), findings, lambda: Image.open(FOLDER / case["image"]))


@pytest.fixture(scope="module")
def metric() -> CocoMig:
    made = load_plugins().metric("coco-mig")
    assert isinstance(made, CocoMig)
    return made


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["image"])
def test_every_instance_is_judged_as_published(metric: CocoMig, case: Mapping[str, Any]) -> None:
    score = metric.score([request_of(case)])[0]
    for one, judged in zip(case["instances"], score.instances, strict=True):
        expected = one["expected"]
        assert named_colour(one["label"]) == one["colour"]
        assert judged["found"] == bool(expected["found"])
        assert judged["colour"] == bool(expected["colour"])
        assert judged["iou"] == pytest.approx(expected["iou"], abs=1e-4)
    right = [one["expected"]["found"] and one["expected"]["colour"] for one in case["instances"]]
    assert score.picture["sr"] == all(right)


def test_the_averages_are_the_published_ones(metric: CocoMig) -> None:
    scores = metric.score([request_of(case) for case in GOLDEN["cases"]])
    levels = np.array([len(score.instances) for score in scores])
    expected = GOLDEN["aggregates"]
    for name, key in (("isr", "right"), ("miou", "iou")):
        values = [[float(one[key] or 0) for one in score.instances] for score in scores]
        pooled = [value for some in values for value in some]
        assert np.mean(pooled) == pytest.approx(expected[name], abs=1e-4)
        for level, wanted in zip(sorted(set(levels)), expected[f"{name}_by_level"], strict=True):
            chosen = [v for some, n in zip(values, levels, strict=True) if n == level for v in some]
            assert np.mean(chosen) == pytest.approx(wanted, abs=1e-4)
    successes = np.array([score.picture["sr"] for score in scores], dtype=float)
    assert successes.mean() == pytest.approx(expected["sr"])
    by_level = [successes[levels == level].mean() for level in sorted(set(levels))]
    assert by_level == pytest.approx(expected["sr_by_level"])


@pytest.mark.parametrize("colour", sorted(RANGES))
def test_every_golden_colour_is_in_the_ranges_it_should_be_in(colour: str) -> None:
    packed = bytes.fromhex(GOLDEN["colours"]["rgb"])
    pixels = np.frombuffer(packed, dtype=np.uint8).reshape(-1, 3)
    bits = np.frombuffer(bytes.fromhex(GOLDEN["colours"]["passes"][colour]), dtype=np.uint8)
    expected = np.unpackbits(bits)[: len(pixels)].astype(bool)
    assert len(pixels) >= 6000
    assert np.array_equal(in_colour(pixels, colour), expected)
