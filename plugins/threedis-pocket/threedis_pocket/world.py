"""The pocket world: spheres, cubes, cylinders and cones on a floor, drawn with exact depth.

Every object fills its box exactly, so a layout and a scene say the same thing. The camera looks
slightly down; the floor's inverse depth grows linearly with the picture row, and an object stands
where the bottom of its box touches the floor.

Shapes: B scenes, N object slots a scene, M = B * N objects, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from threedis_pocket.shapes import ROUND_BELOW, SURFACES, TILT

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.10, 0.12),
    "orange": (0.98, 0.50, 0.06),
    "yellow": (0.98, 0.85, 0.12),
    "green": (0.16, 0.66, 0.24),
    "cyan": (0.12, 0.78, 0.82),
    "blue": (0.14, 0.28, 0.88),
    "purple": (0.55, 0.18, 0.76),
    "pink": (0.98, 0.48, 0.72),
}
COLOURS = tuple(PALETTE)

HORIZON = 0.32  # row where the floor meets the wall, as a fraction of the height
HANGING = 0.18  # inverse depth of what hangs in the air: before the wall, or nobody could see it
FAR, NEAR = 0.10, 0.78  # inverse depth of the wall, and of the floor at the bottom row
TOGETHER = 4  # scenes drawn at once: more fall out of the processor's cache (15 against 47 ms)
LIGHT = F.normalize(torch.tensor([-0.55, -0.80, 0.75]), dim=0)  # x right, y down, z to the camera


@dataclass(frozen=True, eq=False)
class Scenes:
    """A batch of scenes.

    Args:
        boxes: (B, N, 4) float, x0 y0 x1 y1 in [0, 1].
        shapes: (B, N) long, index into SHAPES; -1 marks an empty slot.
        colours: (B, N) long, index into COLOURS.
        tones: (B, 4) float in [0, 1]: wall light, floor light, warmth, where the light falls.
    """

    boxes: Tensor
    shapes: Tensor
    colours: Tensor
    tones: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | Tensor) -> Scenes:
        return Scenes(self.boxes[index], self.shapes[index], self.colours[index], self.tones[index])


@dataclass(frozen=True, eq=False)
class Drawing:
    """What the camera sees.

    Args:
        rgb: (B, 3, H, W) float in [0, 1].
        depth: (B, H, W) float in [0, 1], 1 = nearest, linear in inverse depth.
        ids: (B, H, W) long, the visible object's slot; -1 where there is none.
    """

    rgb: Tensor
    depth: Tensor
    ids: Tensor


def floor_depth(rows: Tensor) -> Tensor:
    """Inverse depth of the floor (below the horizon) or the wall (above) at ``rows`` in [0, 1]."""
    return FAR + (NEAR - FAR) * ((rows - HORIZON) / (1 - HORIZON)).clamp(0, 1)


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return y[:, None], x[None, :]


def _objects(scenes: Scenes, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Depth (-1 outside) and the cosines of light and gloss of every slot, each (B, N, H, W)."""
    batch, slots = scenes.shapes.shape
    boxes, kinds = scenes.boxes.flatten(0, 1), scenes.shapes.flatten()
    y, x = _grid(height, width, boxes.device)
    depth = boxes.new_full((batch * slots, height, width), -1.0)
    light, gloss = torch.zeros_like(depth), torch.zeros_like(depth)
    halfway = F.normalize(LIGHT + torch.tensor([0.0, 0.0, 1.0]), dim=0).tolist()
    sun = LIGHT.tolist()
    for kind, (name, surface_of) in enumerate(SURFACES.items()):
        chosen = (kinds == kind).nonzero().squeeze(1)
        if len(chosen) == 0:
            continue
        x0, y0, x1, y1 = (side[:, None, None] for side in boxes[chosen].unbind(1))
        u, v = 2 * (x - x0) / (x1 - x0) - 1, 2 * (y - y0) / (y1 - y0) - 1
        pixels = (x1 - x0) * width / ((y1 - y0) * height)
        flat = (TILT * pixels).clamp(max=0.45)
        surface = surface_of(u, v, flat)
        # An object is as near as the floor under the middle of its foot.
        foot = y1 - (y1 - y0) / 2 * flat * (0.0 if name in ROUND_BELOW else 1.0)
        centre = floor_depth(foot).clamp_min(HANGING)
        near = centre + centre * (x1 - x0) * 0.6 * surface.toward
        depth[chosen] = torch.where(surface.inside, near.clamp(0, 1), -1.0)
        normal = surface.normal
        length = (normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2).clamp_min(1e-6).sqrt()
        lit = sum(n * s for n, s in zip(normal, sun, strict=True)) / length
        shine = sum(n * s for n, s in zip(normal, halfway, strict=True)) / length
        light[chosen] = lit.expand_as(near)
        gloss[chosen] = shine.expand_as(near)
    shape = (batch, slots, height, width)
    return depth.view(shape), light.view(shape), gloss.view(shape)


def _backdrop(scenes: Scenes, height: int, width: int) -> Tensor:
    """Wall and floor with the objects' soft shadows, (B, 3, H, W)."""
    y, x = _grid(height, width, scenes.boxes.device)
    wall, floor, warmth, side = (tone[:, None, None] for tone in scenes.tones.unbind(1))
    across = 0.04 * (1 - ((x - side) ** 2))
    below = ((y - HORIZON) / (1 - HORIZON)).clamp(0, 1)
    grey = torch.where(
        y < HORIZON,
        0.80 + 0.08 * wall - 0.10 * (1 - y / HORIZON),
        0.60 + 0.08 * floor + 0.10 * below,
    )
    grey = grey + across
    x0, _, x1, y1 = (side[..., None, None] for side in scenes.boxes.unbind(2))
    size = x1 - x0
    du = (x - (x0 + x1) / 2 - 0.16 * size) / (0.56 * size)
    dv = (y - y1 + 0.10 * size * width / height) / (0.15 * size * width / height)
    present = (scenes.shapes >= 0)[..., None, None]
    shade = (present * 0.55 * torch.exp(-(du * du + dv * dv))).amax(1)
    grey = grey * torch.where(y < HORIZON, 1.0, 1 - shade)
    tint = (
        1
        + (warmth - 0.5)[:, None]
        * torch.tensor([0.05, 0.01, -0.06], device=y.device)[:, None, None]
    )
    return grey[:, None] * tint


def _shade(scenes: Scenes, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Depth (B, H, W), slot, where an object is seen, and the objects' colour (B, 3, H, W)."""
    depths, light, gloss = _objects(scenes, height, width)
    nearest, slot = depths.max(1)
    palette = torch.tensor(list(PALETTE.values()), device=depths.device)
    rows = torch.arange(len(scenes), device=depths.device)[:, None, None]
    paint = palette[scenes.colours[rows, slot]].permute(0, 3, 1, 2)
    lit = light.gather(1, slot[:, None]).clamp_min(0)
    shine = gloss.gather(1, slot[:, None]).clamp_min(0)
    body = (paint * (0.50 + 0.62 * lit) + 0.45 * shine**40).clamp(0, 1)
    return nearest, slot, nearest >= 0, body


def _draw(scenes: Scenes, height: int, width: int, supersample: int) -> Drawing:
    nearest, slot, seen, body = _shade(scenes, height, width)
    y, _ = _grid(height, width, nearest.device)
    depth = torch.where(seen, nearest, floor_depth(y).expand_as(nearest))
    cover = seen[:, None].float()
    if supersample > 1:
        _, _, fine, colour = _shade(scenes, height * supersample, width * supersample)
        cover = F.avg_pool2d(fine[:, None].float(), supersample)
        # Colours weighted by what they cover, so that edges do not mix with what is behind.
        body = F.avg_pool2d(colour * fine[:, None], supersample)
    else:
        body = body * cover
    rgb = body + (1 - cover) * _backdrop(scenes, height, width).clamp(0, 1)
    return Drawing(rgb, depth, torch.where(seen, slot, -1))


def draw(scenes: Scenes, height: int = 128, width: int = 128, supersample: int = 2) -> Drawing:
    """Draw scenes with exact depth.

    Args:
        scenes: B scenes.
        height: Rows of the picture.
        width: Columns of the picture.
        supersample: Colour samples per pixel and axis, against jagged edges. Depth and ids are
            always one sample at the pixel's centre: exact, never blended.
    """
    parts = [
        _draw(scenes[slice(i, i + TOGETHER)], height, width, supersample)
        for i in range(0, len(scenes), TOGETHER)
    ]
    return Drawing(
        torch.cat([p.rgb for p in parts]),
        torch.cat([p.depth for p in parts]),
        torch.cat([p.ids for p in parts]),
    )
