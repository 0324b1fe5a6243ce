"""The pocket world: a synthetic world, tiny models trained on it, and what measures them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from threedis_core.hookspecs import Register, RegisterPreset, hookimpl

if TYPE_CHECKING:
    import typer

WEIGHTS = Path(__file__).parent / "weights"


@hookimpl
def threedis_register_depth_models(register: Register) -> None:
    """Register the depth model that draws pocket shapes exactly."""
    register(
        "pocket-scene",
        "threedis_pocket.scene_depth:PocketScene",
        "exact depth of a layout of spheres, cubes, cylinders and cones",
    )


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register the shipped models: the real renderers with tiny local weights."""
    register(
        "pocket-sd15",
        "sd15",
        {
            "model": str(WEIGHTS / "pocket-sd15"),
            "scheduler": None,
            "steps": 20,
            "guidance": 3.0,
            "repeat_prompt": False,
            "dtype": "float32",
        },
        "the pocket world's SD1.5: 128 px, about a second a picture on a CPU",
    )


@hookimpl
def threedis_register_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add ``threedis demo``, ``threedis bench pocket`` and ``threedis pocket``."""
    from threedis_pocket.commands import add_commands

    add_commands(app, bench)
