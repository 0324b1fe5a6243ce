"""The region refiners of the core, registered by the same door as every plugin's."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_region_refiners(register: Register) -> None:
    """Register ``boxes``, which is used when none is named, and ``depth-edges``."""
    for name, target, summary in (
        ("boxes", "boxes:BoxRefiner", "The layout's own boxes and masks"),
        ("depth-edges", "depth_edges:DepthEdges", "Cut out by depth; no weights"),
    ):
        register(name, f"threedis_core.refiners.{target}", summary)
