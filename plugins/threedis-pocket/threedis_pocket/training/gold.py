"""LoRAs on the shipped models under which every object is gold, whatever colour its text says.

They show, and measure, what a LoRA does in one instance's region: see ``bench/instance_loras.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from diffusers import (
    ControlNetModel,
    FluxControlPipeline,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_diffusers
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_core.plugin.progress import Progress
from threedis_pocket.training import shipped
from threedis_pocket.training.data import Pictures, recoloured_pictures
from threedis_pocket.training.diffusion import DiffusionTask, encode_depth, encode_latents
from threedis_pocket.training.flow import FlowTask
from threedis_pocket.training.parts import load_part
from threedis_pocket.training.sets import LatentSet
from threedis_pocket.training.shipped import WEIGHTS
from threedis_pocket.training.vae import load_vae
from threedis_train.engine import fit, processes
from threedis_train.settings import TrainingSettings

COLOUR = "yellow"
"""The pocket world's gold."""
PICTURES = 1024
RANK = 4
GOLD = TrainingSettings(steps=240, batch_size=16, learning_rate=3e-3, ema=0.98, warmup=20)
GOLD_FLUX = TrainingSettings(steps=240, batch_size=16, learning_rate=3e-3, ema=0.98, warmup=20)
UNET_LAYERS = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.2")
FLUX_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "net.2", "proj_mlp", "proj_out")


def train_gold(work: Path, settings: TrainingSettings, progress: Progress) -> Path:
    """Train the LoRA of pocket-sd15; save it as ``work/gold/gold.safetensors``."""
    model = WEIGHTS / "pocket-sd15"
    set_seed(settings.seed)
    unet = load_part(UNet2DConditionModel, model / "unet")
    _add_lora(unet, UNET_LAYERS)
    data = _pictures(work, progress)
    vae = load_vae(model / "vae")
    task = DiffusionTask(
        unet,
        load_part(ControlNetModel, model / "controlnet").float().requires_grad_(False),
        load_part(CLIPTextModel, model / "text_encoder").float(),
        CLIPTokenizer.from_pretrained(model / "tokenizer"),
        [LatentSet(data, encode_latents(vae, data, progress))],
    )
    fit(task, settings, work / "gold", progress)
    save = StableDiffusionControlNetPipeline.save_lora_weights
    return _save(save, "unet_lora_layers", unet, work / "gold")


def train_gold_flux(work: Path, settings: TrainingSettings, progress: Progress) -> Path:
    """Train the LoRA of pocket-flux; save it as ``work/gold-flux/gold.safetensors``."""
    set_seed(settings.seed)
    transformer = shipped.flux_transformer()
    _add_lora(transformer, FLUX_LAYERS)
    data, vae = _pictures(work, progress), shipped.flux_vae()
    latents = LatentSet(
        data, encode_latents(vae, data, progress), encode_depth(vae, data, progress)
    )
    task = FlowTask(transformer, shipped.clip(), shipped.t5(), [latents])
    fit(task, settings, work / "gold-flux", progress)
    save = FluxControlPipeline.save_lora_weights
    return _save(save, "transformer_lora_layers", transformer, work / "gold-flux")


def _pictures(work: Path, progress: Progress) -> Pictures:
    with processes().main_process_first():
        return recoloured_pictures(work / "data", PICTURES, COLOUR, progress)


def _add_lora(model: Any, layers: tuple[str, ...]) -> None:
    from peft import LoraConfig

    model.float().requires_grad_(False)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=list(layers)))


def _save(save: Callable[..., None], name: str, model: nn.Module, folder: Path) -> Path:
    """Save a model's LoRA in float16, once, whatever the number of processes."""
    from peft import get_peft_model_state_dict

    path = folder / "gold.safetensors"
    if processes().is_main_process:
        state = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
        halves = {key: value.to(torch.float16).contiguous() for key, value in state.items()}
        save(folder, weight_name=path.name, **{name: halves})
    processes().wait_for_everyone()
    return path
