"""Presets of the Stable Diffusion renderers: few steps, and as the published scripts do.

Steps, guidance and scheduler suit what each LoRA was distilled for. Where guidance is off, a step
costs half as much, and negative prompts have no effect.
"""

from __future__ import annotations

from typing import Any

QUALITY_NEGATIVE_PROMPT = "worst quality, low quality, bad anatomy, watermark, text, blurry"
"""Source: 3DIS, the published scripts."""
LCM_FILE = "pytorch_lora_weights.safetensors"
LCM = {"scheduler": "LCMScheduler", "steps": 8, "guidance": 1.0}
TRAILING_DDIM = {"name": "DDIMScheduler", "timestep_spacing": "trailing"}
TRAILING_EULER = {"name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
HYPER = {"scheduler": TRAILING_DDIM, "steps": 8, "guidance": 1.0}
HYPER_CFG = {"scheduler": TRAILING_DDIM, "steps": 12, "guidance": 5.0}

Options = dict[str, Any]


def _lora(path: str, file: str) -> Options:
    return {"loras": [{"path": path, "file": file}]}


PRESETS: tuple[tuple[str, str, Options, str], ...] = (
    (
        "sd15-lcm",
        "sd15",
        {**LCM, **_lora("latent-consistency/lcm-lora-sdv1-5", LCM_FILE)},
        "SD1.5 in 8 steps: LCM LoRA, no guidance",
    ),
    (
        "sd15-hyper",
        "sd15",
        {**HYPER, **_lora("ByteDance/Hyper-SD", "Hyper-SD15-8steps-lora.safetensors")},
        "SD1.5 in 8 steps: Hyper-SD LoRA, no guidance",
    ),
    (
        "sd15-hyper-cfg",
        "sd15",
        {**HYPER_CFG, **_lora("ByteDance/Hyper-SD", "Hyper-SD15-12steps-CFG-lora.safetensors")},
        "SD1.5 in 12 steps: Hyper-SD LoRA with guidance",
    ),
    (
        "sdxl-lcm",
        "sdxl",
        {**LCM, **_lora("latent-consistency/lcm-lora-sdxl", LCM_FILE)},
        "SDXL in 8 steps: LCM LoRA, no guidance",
    ),
    (
        "sdxl-hyper",
        "sdxl",
        {**HYPER, **_lora("ByteDance/Hyper-SD", "Hyper-SDXL-8steps-lora.safetensors")},
        "SDXL in 8 steps: Hyper-SD LoRA, no guidance",
    ),
    (
        "sdxl-hyper-cfg",
        "sdxl",
        {**HYPER_CFG, **_lora("ByteDance/Hyper-SD", "Hyper-SDXL-12steps-CFG-lora.safetensors")},
        "SDXL in 12 steps: Hyper-SD LoRA with guidance",
    ),
    (
        "sdxl-lightning",
        "sdxl",
        {
            "scheduler": TRAILING_EULER,
            "steps": 8,
            "guidance": 1.0,
            **_lora("ByteDance/SDXL-Lightning", "sdxl_lightning_8step_lora.safetensors"),
        },
        "SDXL in 8 steps: Lightning LoRA, no guidance",
    ),
    (
        "3dis-published",
        "sd15",
        {
            "dtype": "float32",
            "variant": None,
            "nouns_in_prompt": True,
            "default_negative_prompt": QUALITY_NEGATIVE_PROMPT,
        },
        "SD1.5 as the published 3DIS scripts run it",
    ),
)
"""Name, renderer, options and summary of each."""
