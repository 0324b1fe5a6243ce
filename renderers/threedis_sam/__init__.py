"""The region refiners ``sam`` and ``sam2``: Segment Anything."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_region_refiners(register: Register) -> None:
    """Register ``sam`` and ``sam2``."""
    register("sam", "threedis_sam.refiner:Sam", "Segment Anything on the depth map")
    register("sam2", "threedis_sam.sam2:Sam2", "Segment Anything 2 on the depth map")
