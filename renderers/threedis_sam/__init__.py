"""The region refiner ``sam``: Segment Anything."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_region_refiners(register: Register) -> None:
    """Register ``sam``."""
    register("sam", "threedis_sam.refiner:Sam", "Segment Anything on the depth map")
