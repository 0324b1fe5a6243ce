"""Layout to depth: a text-to-depth diffusion model with a layout adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from threedis_core.plugin.hookspecs import Register, RegisterPreset, hookimpl

if TYPE_CHECKING:
    import typer


@hookimpl
def threedis_register_depth_models(register: Register) -> None:
    """Register ``ldm3d``; no model code is imported until it is used."""
    register("ldm3d", "threedis_ldm3d.depth_model:LDM3D", "LDM3D with a layout adapter (3DIS)")


@hookimpl
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register ``ldm3d`` as the published scripts run it."""
    options = {"stretch": False, "dtype": "float32", "variant": None}
    register("3dis-depth-published", "ldm3d", options, "LDM3D as the published 3DIS scripts run it")


@hookimpl
def threedis_register_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add ``threedis convert`` and ``threedis train``."""
    from threedis_ldm3d.commands import convert_app, train_app

    app.add_typer(convert_app(), name="convert")
    app.add_typer(train_app(), name="train")
