"""Judges of real pictures: GroundingDINO with Segment Anything, and CLIP."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_instance_detectors(register: Register) -> None:
    """Register the detectors; no model code is imported until one is used."""
    for name, target, summary in (
        ("grounding-dino", "GroundingDino", "GroundingDINO and Segment Anything"),
        ("mm-grounding-dino", "MMGroundingDino", "MM-Grounding-DINO and Segment Anything"),
    ):
        register(name, f"threedis_detect.detectors:{target}", summary)


@hookimpl
def threedis_register_metrics(register: Register) -> None:
    """Register ``clip``."""
    register("clip", "threedis_detect.clip:Clip", "CLIP similarity of picture and prompts")
