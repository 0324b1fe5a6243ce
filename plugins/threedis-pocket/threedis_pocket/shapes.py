"""The shapes of the pocket world: a new one is a function here, and its name in ``SURFACES``.

Each is given its box's own coordinates and fills the box exactly. Shapes: M objects, H rows, W
columns; ``u`` (M, 1, W) runs from -1 at the box's left to 1 at its right, ``v`` (M, H, 1) likewise
from top to bottom, ``e`` (M, 1, 1) is half the height of a horizontal circle, in units of ``v``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

TILT = 0.30
"""Height of a horizontal circle divided by its width, as the camera sees it."""
YAW = math.radians(20.0)
"""How far cubes are turned."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The front surface of M objects of one shape, shapes (M, H, W) or ones that broadcast to it.

    Args:
        inside: True where the object is seen.
        toward: How far it comes to the camera there, from -1 to 1.
        normal: x to the right, y down, z to the camera, of any length.
    """

    inside: Tensor
    toward: Tensor
    normal: tuple[Tensor, Tensor, Tensor]


def _sphere(u: Tensor, v: Tensor, e: Tensor) -> Surface:
    z = (1 - u * u - v * v).clamp_min(0).sqrt()
    return Surface(u * u + v * v <= 1, z, (u + 0 * v, v + 0 * u, z))


def _cylinder(u: Tensor, v: Tensor, e: Tensor) -> Surface:
    # The lid is an ellipse of half height e; the body ends below in the same curve.
    top = v - (e - 1)
    z = (1 - u * u).clamp_min(0).sqrt()
    cap = u * u + (top / e) ** 2 <= 1
    body = (top >= 0) & (v <= 1 - e + e * z) & (u.abs() <= 1)
    return Surface(
        cap | body,
        torch.where(cap, top / e, z),
        (torch.where(cap, 0.0, u), torch.where(cap, -1.0, 0.0), torch.where(cap, TILT, z)),
    )


def _cone(u: Tensor, v: Tensor, e: Tensor) -> Surface:
    # The widest circle lies at the foot; the outline narrows evenly up to the tip.
    foot = 1 - e
    radius = ((v + 1) / (foot + 1)).clamp(1e-4, 1)
    z = (radius * radius - u * u).clamp_min(0).sqrt()
    base = u * u + ((v - foot) / e) ** 2 <= 1
    inside = ((v <= foot) & (u.abs() <= radius) & (v >= -1)) | (base & (v > foot))
    side = u / radius
    return Surface(
        inside, z, (side, torch.full_like(z, -0.35), (1 - side * side).clamp_min(0).sqrt())
    )


def _cube(u: Tensor, v: Tensor, e: Tensor) -> Surface:
    # Turned by YAW: two sides meet in an edge off the middle, and the lid is a rhombus.
    wide, deep = math.cos(YAW), math.sin(YAW)
    e = e / wide
    top, foot = wide * e - 1, 1 - wide * e
    x, away = u * wide, (top - v) / e
    lid = (x * wide + away * deep).abs() + (away * wide - x * deep).abs() <= 1
    edge = deep / wide  # column of the vertical edge nearest to the camera
    left = u < edge
    toward = torch.where(
        left,
        deep + (wide - deep) * (u + 1) / (1 + edge),
        -deep + (wide + deep) * (1 - u) / (1 - edge),
    )
    sides = (u.abs() <= 1) & (v >= top + e * toward) & (v <= foot + e * toward)
    angle = math.pi / 4 - YAW
    nx = torch.where(left, -math.sin(angle), math.cos(angle)) + 0 * v
    nz = torch.where(left, math.cos(angle), math.sin(angle)) + 0 * v
    return Surface(
        lid | sides,
        torch.where(lid, -away, toward + 0 * v),
        (
            torch.where(lid, 0.0, nx),
            torch.where(lid, -1.0, 0.0),
            torch.where(lid, TILT, nz),
        ),
    )


SURFACES: dict[str, Callable[[Tensor, Tensor, Tensor], Surface]] = {
    "sphere": _sphere,
    "cube": _cube,
    "cylinder": _cylinder,
    "cone": _cone,
}
SHAPES = tuple(SURFACES)
ROUND_BELOW = frozenset({"sphere"})
"""Shapes that touch the floor in the middle of their box's lower side, not along an ellipse."""
