"""Colours that a detector kept are those that the picture has; else the picture is opened."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core import FoundBox, FoundMask, Instance, InstanceFinding, Layout, ScoreRequest
from threedis_core.metrics.coco_mig import CocoMig, CocoMigOptions, colour_facts
from threedis_core.values.box import Box
from threedis_core.values.masks.mask import Mask

BOX = Box.from_xyxy((0.25, 0.25, 0.75, 0.75))
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown")


def noise(side: int, number: int) -> Image.Image:
    """Few colours, so that each fills about a fifth."""
    random = np.random.default_rng(number)
    palette = random.integers(0, 256, (6, 3), dtype=np.uint8)
    return Image.fromarray(palette[random.integers(0, 6, (side, side))])


def masks(number: int) -> tuple[FoundMask, ...]:
    random = np.random.default_rng(number)
    pixels = random.integers(0, 2, (64, 64)).astype(bool)
    return (FoundMask(None, 0.1), FoundMask(Mask.encode(pixels), 0.9), FoundMask(None, 0.5))


def scored(picture: Image.Image, colour: str, facts: dict[str, Any], opened: list[int]) -> Any:
    layout = Layout(prompt="x", instances=(Instance(prompt=f"a {colour} cat", box=BOX),))
    finding = InstanceFinding((FoundBox(BOX.xyxy, 0.9),), masks(1), facts)

    def look() -> Image.Image:
        opened.append(1)
        return picture

    metric = CocoMig(CocoMigOptions())
    return metric.score([ScoreRequest(layout, (finding,), look)])[0].instances[0]


@pytest.mark.parametrize("number", range(6))
def test_verdicts_are_the_same_with_and_without_stored_colours(number: int) -> None:
    picture = noise(512, number)
    facts = json.loads(json.dumps(colour_facts(masks(1), picture)))
    opened: list[int] = []
    kept = [scored(picture, colour, facts, opened) for colour in COLOURS]
    assert not opened
    looked = [scored(picture, colour, {}, opened) for colour in COLOURS]
    assert len(opened) == len(COLOURS)
    assert kept == looked


def test_colours_of_another_size_or_rule_are_not_trusted(monkeypatch) -> None:
    picture = Image.new("RGB", (512, 512), (200, 10, 10))
    small = colour_facts(masks(1), Image.new("RGB", (128, 128), (10, 10, 200)))
    facts = colour_facts(masks(1), Image.new("RGB", (512, 512), (10, 10, 200)))
    opened: list[int] = []
    assert not scored(picture, "red", facts, opened)["colour"]
    assert not opened
    assert scored(picture, "red", small, opened)["colour"]
    monkeypatch.setattr(CocoMig, "version", CocoMig.version + 1)
    assert scored(picture, "red", facts, opened)["colour"]
    assert len(opened) == 2
