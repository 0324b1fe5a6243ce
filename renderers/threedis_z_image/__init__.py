"""The Z-Image renderer: Z-Image-Turbo with Fun-Controlnet-Union and the joint-attention hook."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_renderers(register: Register) -> None:
    """Register ``z-image``; no model code is imported until it is used."""
    summary = "Z-Image-Turbo + Fun-Controlnet-Union"
    register("z-image", "threedis_z_image.backend:ZImageRenderer", summary)
