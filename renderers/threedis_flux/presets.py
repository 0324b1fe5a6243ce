"""Presets of ``flux``: few steps, and as the published scripts do.

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
