"""Tell which shape stands somewhere in a picture: draw all four there and see which fits best.

A silhouette alone does not tell a small cube from a small cylinder; its light does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from threedis_pocket.bench.detector import classify_pixels
from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import Scenes, draw

VISIBLE = 0.7
"""Shapes are judged of instances of which at least this share can be seen."""


def visible_shares(scene: Scenes, height: int, width: int) -> list[float]:
    """For each slot of one scene: how much of the object others leave to be seen, in [0, 1]."""
    slots = scene.shapes.shape[1]
    together = draw(scene, height, width, supersample=1).ids[0]
    alone = _each(scene, slots)
    alone = replace(alone, shapes=torch.where(torch.eye(slots, dtype=torch.bool), alone.shapes, -1))
    whole = (draw(alone, height, width, supersample=1).ids >= 0).sum((1, 2))
    seen = torch.stack([(together == slot).sum() for slot in range(slots)])
    return (seen / whole.clamp_min(1)).tolist()


def shape_at(
    picture: np.ndarray, scene: Scenes, slot: int, boxes: list[tuple[float, float, float, float]]
) -> str:
    """The shape that explains the picture best at one object's place.

    Args:
        picture: RGB, (H, W, 3) uint8.
        scene: The layout's scene, a batch of one; says what stands before the object.
        slot: Which object.
        boxes: Where it may stand, x0 y0 x1 y1 in [0, 1]: its box, and the box it was found in.
    """
    height, width = picture.shape[:2]
    tries = [(box, shape) for box in boxes for shape in range(len(SHAPES))]
    scenes = _each(scene, len(tries))
    rows = torch.arange(len(tries))
    scenes.boxes[rows, slot] = torch.tensor([box for box, _ in tries])
    scenes.shapes[rows, slot] = torch.tensor([shape for _, shape in tries])
    drawing = draw(scenes, height, width, supersample=1)
    colour = int(scene.colours[0, slot])
    light = (drawing.rgb.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    expected = np.stack([_glow(one, colour) for one in light])
    own = drawing.ids.numpy() == slot
    # Only where no candidate has another object, since others are not what is asked about.
    place = own.any(0) & ~((drawing.ids.numpy() >= 0) & ~own).any(0)
    place = _grown(place) & ~((drawing.ids.numpy() >= 0) & ~own).any(0)
    found = _glow(picture, colour)[place]
    errors = [_misfit(found, one[place]) for one in expected]
    return SHAPES[tries[int(np.argmin(errors))][1]]


def _each(scene: Scenes, count: int) -> Scenes:
    """``count`` copies of one scene."""
    return Scenes(
        *(
            getattr(scene, name).expand(count, *getattr(scene, name).shape[1:]).clone()
            for name in Scenes.__dataclass_fields__
        )
    )


def _glow(picture: np.ndarray, colour: int) -> np.ndarray:
    """How bright each pixel of a colour is, 0 to 1; pixels of no or another colour are 0."""
    own = classify_pixels(picture) == colour
    return np.where(own, picture.mean(2) / 255 + 0.3, 0.0)


def _grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    down = padded[:-2] | padded[1:-1] | padded[2:]
    return down[:, :-2] | down[:, 1:-1] | down[:, 2:]


def _misfit(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference, after the overall brightness is made equal."""
    both = (found > 0) & (expected > 0)
    gain = np.clip(expected[both].sum() / max(found[both].sum(), 1e-6), 0.7, 1.4)
    return float(np.abs(found * gain - expected).mean()) if found.size else 1.0
