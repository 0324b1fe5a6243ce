"""Presets of ``flux`` and ``flux-controlnet``: few steps, other ControlNets, as published.

The few-step LoRAs were made for FLUX.1-dev, which takes depth by its depth LoRA beside them.
"""

from __future__ import annotations

from typing import Any

DEPTH_LORA = "black-forest-labs/FLUX.1-Depth-dev-lora"

PRESETS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "flux-hyper",
        {
            "depth_lora": {"path": DEPTH_LORA, "weight": 0.85},
            "loras": [
                {
                    "path": "ByteDance/Hyper-SD",
                    "file": "Hyper-FLUX.1-dev-8steps-lora.safetensors",
                    "weight": 0.125,
                }
            ],
            "steps": 8,
        },
        "FLUX.1-dev in 8 steps: depth LoRA and Hyper-SD LoRA",
    ),
    (
        "flux-turbo",
        {
            "depth_lora": {"path": DEPTH_LORA, "weight": 0.85},
            "loras": [
                {
                    "path": "alimama-creative/FLUX.1-Turbo-Alpha",
                    "file": "diffusion_pytorch_model.safetensors",
                }
            ],
            "steps": 8,
        },
        "FLUX.1-dev in 8 steps: depth LoRA and Turbo-Alpha LoRA",
    ),
    (
        "3dis-flux-published",
        {"nouns_in_prompt": True},
        "FLUX.1-Depth as the published 3DIS-FLUX scripts run it",
    ),
)
"""Name, options and summary of each."""

UNION = "Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro"
CONTROLNET_PRESETS: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "flux-union",
        {"controlnet": UNION, "control_mode": 2},
        "FLUX.1-dev with a ControlNet of many controls, of which depth is mode 2",
    ),
    (
        "flux-union-2",
        {"controlnet": f"{UNION}-2.0"},
        "FLUX.1-dev with a ControlNet of many controls that needs no mode",
    ),
    (
        "flux-schnell",
        {
            "model": "black-forest-labs/FLUX.1-schnell",
            "controlnet": f"{UNION}-2.0",
            "steps": 4,
        },
        "FLUX.1-schnell in 4 steps, without guidance, with a depth ControlNet made for dev",
    ),
)
"""Likewise, of ``flux-controlnet``."""
