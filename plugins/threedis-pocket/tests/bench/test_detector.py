from __future__ import annotations

import numpy as np
import torch

from threedis_core.values.layout import Box
from threedis_pocket.bench.detector import Detector, classify_pixels
from threedis_pocket.layouts import TEST_OVERLAP
from threedis_pocket.scenes import sample_scenes
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, draw


def to_picture(rgb: torch.Tensor) -> np.ndarray:
    return (rgb * 255).round().byte().permute(1, 2, 0).numpy()


def test_at_least_97_percent_of_true_objects_are_recognised() -> None:
    scenes = sample_scenes("validation", 128, overlap=TEST_OVERLAP)
    drawing, detector = draw(scenes), Detector()
    recognised = total = 0
    for index in range(len(scenes)):
        found = detector.detect(to_picture(drawing.rgb[index]))
        for slot in (scenes.shapes[index] >= 0).nonzero().flatten().tolist():
            total += 1
            box = Box.from_xyxy(scenes.boxes[index, slot].tolist())
            recognised += any(
                d.colour == COLOURS[scenes.colours[index, slot]]
                and d.shape == SHAPES[scenes.shapes[index, slot]]
                and box.iou(Box.from_xyxy(d.box)) >= 0.5
                for d in found
            )
    assert total > 300
    assert recognised / total >= 0.97


def test_an_empty_room_has_no_objects() -> None:
    scenes = sample_scenes("validation", 4)
    scenes.shapes.fill_(-1)
    for rgb in draw(scenes).rgb:
        assert Detector().detect(to_picture(rgb)) == []


def test_grey_pixels_are_background_and_the_palette_is_not() -> None:
    grey = np.full((2, 2, 3), 128, np.uint8)
    assert (classify_pixels(grey) == -1).all()
    red = np.array([[[224, 26, 31]]], np.uint8)
    assert COLOURS[classify_pixels(red)[0, 0]] == "red"
