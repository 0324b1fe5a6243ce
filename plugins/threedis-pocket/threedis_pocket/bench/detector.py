"""Find the pocket world's objects in a picture: colour by hue, shape by silhouette.

The background is grey and every object has one saturated colour, so a pixel's hue tells its
object's colour whatever the light; connected pixels of one colour are one object.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from threedis_pocket.shapes import SHAPES
from threedis_pocket.world import COLOURS, PALETTE, Scenes, draw

SATURATION = 0.33  # at least this much colour, or the pixel is background
SMALLEST = 12  # pixels; anything smaller is noise
_SIDE = 24  # silhouettes are compared on a 24 x 24 grid


@dataclass(frozen=True)
class Detection:
    """One object found: box as x0 y0 x1 y1 in [0, 1], colour and shape names, area in pixels.

    ``fit`` is the share of its silhouette that is that of its shape.
    """

    box: tuple[float, float, float, float]
    colour: str
    shape: str
    area: int
    fit: float = 1.0


def classify_pixels(picture: np.ndarray) -> np.ndarray:
    """Colour index of every pixel, -1 for background.

    Args:
        picture: RGB, (H, W, 3) uint8.
    Returns:
        (H, W) int, index into COLOURS or -1.
    """
    rgb = picture.astype(np.float32) / 255
    high, low = rgb.max(2), rgb.min(2)
    chroma = high - low
    safe = np.where(chroma > 0, chroma, 1)
    r, g, b = np.moveaxis(rgb, 2, 0)
    hue = np.select(
        [high == r, high == g], [((g - b) / safe) % 6, (b - r) / safe + 2], (r - g) / safe + 4
    )
    own = np.array([colorsys.rgb_to_hsv(*PALETTE[name])[0] * 6 for name in COLOURS])
    distance = np.abs(hue[..., None] - own)
    nearest = np.minimum(distance, 6 - distance).argmin(2)
    saturated = (chroma > SATURATION * np.maximum(high, 1e-6)) & (high > 0.15)
    return np.where(saturated, nearest, -1)


def _silhouette(mask: np.ndarray) -> np.ndarray:
    """A mask cropped to its own box and resampled to a fixed grid."""
    height, width = mask.shape
    rows = ((np.arange(_SIDE) + 0.5) * height / _SIDE).astype(int)
    columns = ((np.arange(_SIDE) + 0.5) * width / _SIDE).astype(int)
    return mask[np.ix_(rows, columns)]


def _templates() -> np.ndarray:
    """Silhouettes of every shape at the usual proportions, (shapes, proportions, 24, 24)."""
    tall = torch.tensor([0.50, 0.62, 0.75, 0.90])
    boxes = torch.stack([torch.tensor([0.1, 0.95 - float(t), 0.65, 0.95]) for t in tall])
    sheets = []
    for kind in range(len(SHAPES)):
        shapes = torch.full((len(tall), 1), kind)
        scenes = Scenes(boxes[:, None], shapes, torch.zeros_like(shapes), torch.zeros(len(tall), 4))
        masks = draw(scenes, supersample=1).ids.numpy() == 0
        sheets.append([_silhouette(m[ndimage.find_objects(m.astype(int))[0]]) for m in masks])
    return np.array(sheets)


class Detector:
    """Finds objects in pictures. Making one draws the shape templates once."""

    def __init__(self) -> None:
        self._shapes = _templates()

    def shape_of(self, mask: np.ndarray) -> tuple[str, float]:
        """The shape whose silhouette fits the (cropped) mask best, and how well, in [0, 1]."""
        fit = (self._shapes == _silhouette(mask)).mean((2, 3)).max(1)
        return SHAPES[int(fit.argmax())], float(fit.max())

    def detect(self, picture: np.ndarray) -> list[Detection]:
        """All objects in a picture, (H, W, 3) uint8, the largest first."""
        classes = classify_pixels(picture)
        height, width = classes.shape
        found = []
        for index, colour in enumerate(COLOURS):
            labels, _ = ndimage.label(classes == index)  # pyright: ignore[reportGeneralTypeIssues]
            for number, where in enumerate(ndimage.find_objects(labels), start=1):
                mask = labels[where] == number
                if (area := int(mask.sum())) < SMALLEST:
                    continue
                rows, columns = where
                box = (
                    columns.start / width,
                    rows.start / height,
                    columns.stop / width,
                    rows.stop / height,
                )
                shape, fit = self.shape_of(mask)
                found.append(Detection(box, colour, shape, area, fit))
        return sorted(found, key=lambda d: -d.area)
