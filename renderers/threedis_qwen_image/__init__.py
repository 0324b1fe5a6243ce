"""The Qwen-Image renderer: Qwen-Image with ControlNet-Union and the joint-attention hook."""

from __future__ import annotations

from threedis_core.plugin.hookspecs import Register, hookimpl


@hookimpl
def threedis_register_renderers(register: Register) -> None:
    """Register ``qwen-image``; no model code is imported until it is used."""
    summary = "Qwen-Image + ControlNet-Union, for lettering, too"
    register("qwen-image", "threedis_qwen_image.backend:QwenImageRenderer", summary)
