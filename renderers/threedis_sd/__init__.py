"""Stable Diffusion renderers: a U-Net with a depth ControlNet and one cross-attention hook."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, RegisterPreset, hookimpl


@hookimpl
def threedis_register_renderers(register: Register) -> None:
    """Register the Stable Diffusion family; no model code is imported until one is used."""
    register("sd15", "threedis_sd.sd15:SD15Renderer", "Stable Diffusion 1.5 + depth ControlNet")
    register("sd21", "threedis_sd.sd21:SD21Renderer", "Stable Diffusion 2.1 + depth ControlNet")
    register("sdxl", "threedis_sd.sdxl:SDXLRenderer", "Stable Diffusion XL + depth ControlNet")


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register the few-step presets, and the one that does as the published scripts do."""
    from threedis_sd.presets import PRESETS

    for name, renderer, options, summary in PRESETS:
        register(name, renderer, options, summary)
