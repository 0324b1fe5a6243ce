"""What the core itself registers, by the same door as every other plugin."""

from __future__ import annotations

from threedis_core.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_region_refiners(register: Register) -> None:
    """Register ``boxes``, which is used when none is named, and ``depth-edges``."""
    register("boxes", "threedis_core.refiners:BoxRefiner", "The layout's own boxes and masks")
    register("depth-edges", "threedis_core.depth_edges:DepthEdges", "Cut out by depth; no weights")
