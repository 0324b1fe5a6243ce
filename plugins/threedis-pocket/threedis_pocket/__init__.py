"""The pocket world: a synthetic world, tiny models trained on it, and what measures them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from threedis_core.plugin.hookspecs import Register, RegisterPreset, hookimpl
from threedis_core.plugin.registrations import TrainedOn

if TYPE_CHECKING:
    import typer

WEIGHTS = Path(__file__).parent / "weights"

TRAINED_ON = TrainedOn(smallest_box=0.1, most_instances=8, most_overlap=0.5, sides=(128, 192))
"""What all of them have seen; see ``wild.py``."""
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
"""Those of ``world.PALETTE``, which brings torch."""

_UNETS = {
    "sd15": "the pocket world's SD1.5: 128 px, about a second a picture on a CPU",
    "sd21": "the pocket world's SD2.1: 128 px",
    "sdxl": "the pocket world's SDXL: 128 px, two text encoders",
}
_UNET_OPTIONS = {
    "scheduler": None,
    "steps": 20,
    "guidance": 3.0,
    "repeat_prompt": False,
    "dtype": "float32",
}
_SHARED_WITH_SD15 = {"sd15": (), "sd21": ("vae",), "sdxl": ("vae", "text_encoder")}
_SHARED_WITH_FLUX = ("vae", "text_encoder", "text_encoder_2")
_Z_IMAGE_OPTIONS = {"default_side": 128, "controlnet_scale": 1.0, "dtype": "float32"}
_FLUX_OPTIONS = {
    "default_side": 128,
    "steps": 20,
    "guidance": 3.0,
    "tokens_per_prompt": "auto",
    "dtype": "float32",
}


@hookimpl
def threedis_register_depth_models(register: Register) -> None:
    """Register the learned depth model and the one that draws pocket shapes exactly."""
    register(
        "pocket-depth",
        "threedis_pocket.depth_model:PocketDepth",
        "the pocket world's ldm3d: depth of a layout of spheres, cubes, cylinders and cones",
    )
    register(
        "pocket-scene",
        "threedis_pocket.scene_depth:PocketScene",
        "exact depth of a layout of spheres, cubes, cylinders and cones",
    )


@hookimpl
def threedis_register_instance_detectors(register: Register) -> None:
    """Register what finds the pocket world's objects."""
    register(
        "pocket-objects",
        "threedis_pocket.judging:PocketObjects",
        "objects of the pocket world, by hue and silhouette; no weights",
    )


@hookimpl
def threedis_register_metrics(register: Register) -> None:
    """Register ``pocket``, which reads ``pocket-objects``."""
    register(
        "pocket",
        "threedis_pocket.judging:Pocket",
        "colour, place and shape of the pocket world's objects",
    )


@hookimpl
def threedis_register_benchmarks(register: Register) -> None:
    """Register the held-out layouts."""
    register(
        "pocket-test",
        "threedis_pocket.benchmarks:PocketTest",
        "two to five coloured solids at 128 px, held out from training",
    )
    register(
        "pocket-wild",
        "threedis_pocket.benchmarks:PocketWild",
        "one to eight coloured solids as people draw them, in many formats, held out",
    )


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register the shipped models: the real renderers with tiny local weights."""
    seen = replace(TRAINED_ON, colours=COLOURS)
    for name, text in _UNETS.items():
        options = {"model": str(WEIGHTS / f"pocket-{name}")}
        lent = {part: str(WEIGHTS / "pocket-sd15" / part) for part in _SHARED_WITH_SD15[name]}
        register(f"pocket-{name}", name, {**options, **lent, **_UNET_OPTIONS}, text, seen)
    flux = {"model": str(WEIGHTS / "pocket-flux"), **_FLUX_OPTIONS}
    summary = "the pocket world's FLUX: 128 px, 16x16 image tokens"
    register("pocket-flux", "flux", flux, summary, seen)
    shared = {part: str(WEIGHTS / "pocket-flux" / part) for part in _SHARED_WITH_FLUX}
    model = {"model": str(WEIGHTS / "pocket-flux-controlnet"), "controlnet_scale": 1.0}
    summary = "the pocket world's FLUX with a depth ControlNet: 128 px"
    register(
        "pocket-flux-controlnet",
        "flux-controlnet",
        {**model, **shared, **_FLUX_OPTIONS},
        summary,
        seen,
    )
    sd35 = {
        "model": str(WEIGHTS / "pocket-sd35"),
        "vae": shared["vae"],
        "text_encoder_2": str(WEIGHTS / "pocket-sdxl" / "text_encoder_2"),
    }
    summary = "the pocket world's SD3.5 medium with a depth ControlNet: 128 px, three text encoders"
    # The best guidance of 1, 1.5 and 2 on 24 layouts of the validation split.
    register("pocket-sd35", "sd35", {**sd35, **_FLUX_OPTIONS, "guidance": 1.5}, summary, seen)
    model = {"model": str(WEIGHTS / "pocket-z-image"), "vae": shared["vae"]}
    summary = "the pocket world's Z-Image: 128 px, 8 steps without guidance"
    register("pocket-z-image", "z-image", {**model, **_Z_IMAGE_OPTIONS}, summary, seen)


@hookimpl
def threedis_register_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add ``threedis demo``, ``threedis bench pocket`` and ``threedis pocket``."""
    from threedis_pocket.commands import add_commands

    add_commands(app, bench)
