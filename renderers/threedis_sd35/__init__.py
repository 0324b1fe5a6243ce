"""The SD3.5 renderer: Stable Diffusion 3.5 with a depth ControlNet and the joint-attention hook."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, RegisterPreset, hookimpl

MEDIUM = {
    "model": "stabilityai/stable-diffusion-3.5-medium",
    "controlnet": "tensorart/SD3.5M-Controlnet-Depth",
    "steps": 30,
    "guidance": 4.5,
}


@hookimpl
def threedis_register_renderers(register: Register) -> None:
    """Register ``sd35``; no model code is imported until it is used."""
    summary = "Stable Diffusion 3.5 + depth ControlNet"
    register("sd35", "threedis_sd35.backend:SD35Renderer", summary)


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register the medium model, whose ControlNet is somebody else's."""
    summary = "Stable Diffusion 3.5 medium + depth ControlNet: a quarter of the large one"
    register("sd35-medium", "sd35", MEDIUM, summary)
