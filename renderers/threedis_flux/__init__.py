"""The FLUX renderer: FLUX.1 with depth on its channels and one joint-attention hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from threedis_core.plugin.hookspecs import Register, RegisterPreset, hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def threedis_register_renderers(register: Register) -> None:
    """Register the renderers; no model code is imported until it is used."""
    register("flux", "threedis_flux.backend:FluxRenderer", "FLUX.1-Depth, or FLUX.1 + depth LoRA")
    summary = "FLUX.1 dev or schnell + depth ControlNet"
    register("flux-controlnet", "threedis_flux.controlnet:FluxControlNetRenderer", summary)


@hookimpl
def threedis_register_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add ``threedis tune``."""
    from threedis_flux.commands import tune_command

    app.command("tune")(tune_command)


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register presets: few steps, other ControlNets, and as the published scripts do."""
    from threedis_flux.presets import CONTROLNET_PRESETS, PRESETS

    for renderer, presets in (("flux", PRESETS), ("flux-controlnet", CONTROLNET_PRESETS)):
        for name, options, summary in presets:
            register(name, renderer, options, summary)
