"""Picture to depth: models that estimate the depth of a photo."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_depth_estimators(register: Register) -> None:
    """Register the estimators; no model code is imported until one is used."""
    for name, target, summary in (
        ("depth-anything", "transformers_estimators:DepthAnything", "Depth Anything V2"),
        ("dpt", "transformers_estimators:DPT", "DPT, which MiDaS 3 is too"),
        ("midas", "detectors:Midas", "MiDaS 3 of controlnet-aux"),
        ("zoe", "detectors:Zoe", "ZoeDepth of controlnet-aux"),
        ("leres", "detectors:Leres", "LeReS of controlnet-aux"),
    ):
        register(name, f"threedis_estimate.{target}", summary)
