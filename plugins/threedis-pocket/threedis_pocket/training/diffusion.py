"""Training of the pocket U-Net with its depth ControlNet, on latents, depth and captions.

Shapes: B pictures, C latent channels, T = 77 tokens, D text width; 16x16 latents of 128x128 px.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.lib.format import open_memmap
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from threedis_core.progress import Progress, silent
from threedis_pocket.scenes import join_phrases, phrase
from threedis_pocket.training.data import Pictures, to_model
from threedis_pocket.training.loop import Task
from threedis_pocket.world import Scenes
from threedis_sd.options import NEUTRAL_NEGATIVE_PROMPT, NEUTRAL_PROMPT


def build_scheduler() -> DDIMScheduler:
    """v-prediction with zero terminal SNR and trailing timesteps: colours start from pure noise."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


@torch.no_grad()
def encode_latents(
    vae: AutoencoderKL, data: Pictures, folder: Path, progress: Progress = silent
) -> np.ndarray:
    """Posterior means of all pictures, (count, C, 16, 16) float16.

    Made once for each autoencoder: the file in ``folder`` is named by its weights' checksum.
    """
    path = folder / f"latents-{_checksum(vae)}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    count, size = len(data.rgb), data.rgb.shape[1] // 8
    part = path.with_suffix(".part.npy")
    shape = (count, vae.config.latent_channels, size, size)
    latents = open_memmap(part, "w+", np.float16, shape)
    for start in range(0, count, 32):
        rgb = to_model(data.rgb[start : start + 32])
        latents[start : start + 32] = vae.encode(rgb).latent_dist.mean.half().numpy()
        progress("encode", min(start + 32, count), count)
    latents.flush()
    part.rename(path)
    return np.load(path, mmap_mode="r")


def _checksum(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def caption(scenes: Scenes, index: int, rng: torch.Generator) -> str:
    """A random caption of scene ``index``: everything, a part, one object, or nothing.

    A part never names one of several objects of the same shape: which of them is meant could
    not be told. The order is random, so it says nothing about places.
    """
    shapes, colours = scenes.shapes[index].tolist(), scenes.colours[index].tolist()
    objects = [(c, s) for c, s in zip(colours, shapes, strict=True) if s >= 0]
    objects = [objects[i] for i in torch.randperm(len(objects), generator=rng).tolist()]
    times = Counter(s for _, s in objects)
    unique = [o for o in objects if times[o[1]] == 1]
    dice = float(torch.rand((), generator=rng))
    if dice < 0.10:
        return ""
    if dice < 0.40 and unique:
        said = phrase(*unique[0])
        return said if dice < 0.34 else ", and ".join([said] * min(len(objects), 7))
    if dice < 0.50:
        kept = {s for _, s in objects[: 1 + len(objects) // 2]}
        objects = [o for o in objects if o[1] in kept]
    return join_phrases([phrase(*o) for o in objects])


class DiffusionTask(Task):
    """Predict v from noisy latents, a caption and a depth map; the text encoder is frozen."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        data: Pictures,
        latents: np.ndarray,
    ) -> None:
        super().__init__()
        self.unet, self.controlnet = unet, controlnet
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.tokenizer, self.data, self.latents = tokenizer, data, latents
        self.scheduler = build_scheduler()

    def _tokens(self, texts: list[str]) -> Tensor:
        return self.tokenizer(
            texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
        ).input_ids

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        picks = torch.randint(len(self.latents), (size,), generator=rng).tolist()
        latents = torch.from_numpy(np.stack([self.latents[i] for i in picks])).float()
        depth = torch.from_numpy(np.stack([self.data.depth[i] for i in picks])).float() / 255
        captions = [caption(self.data.scenes, i, rng) for i in picks]
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=rng),
            "timesteps": _timesteps(size, rng),
            "depth": depth[:, None].expand(-1, 3, -1, -1),
            "ids": self._tokens(captions),
            "control_ids": self._tokens(_control_prompts(captions, rng)),
            "control_on": (torch.rand(size, generator=rng) >= 0.05).float(),
        }

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        depth: Tensor,
        ids: Tensor,
        control_ids: Tensor,
        control_on: Tensor,
    ) -> Tensor:
        with torch.no_grad():
            states = self.text_encoder(torch.cat([ids, control_ids])).last_hidden_state
        text, control_text = states.chunk(2)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        target = self.scheduler.get_velocity(latents, noise, timesteps)
        down, middle = self.controlnet(noisy, timesteps, control_text, depth, return_dict=False)
        keep = control_on[:, None, None, None]
        out = self.unet(
            noisy,
            timesteps,
            text,
            down_block_additional_residuals=[d * keep for d in down],
            mid_block_additional_residual=middle * keep,
        ).sample
        return (out - target).square().mean()


def _timesteps(size: int, rng: torch.Generator) -> Tensor:
    """Half of the steps over the whole range, half where colours are decided (600-999)."""
    low = torch.randint(0, 1000, (size,), generator=rng)
    high = torch.randint(600, 1000, (size,), generator=rng)
    return torch.where(torch.rand(size, generator=rng) < 0.5, low, high)


def _control_prompts(captions: list[str], rng: torch.Generator) -> list[str]:
    """The ControlNet mostly sees the neutral prompts that the renderers give it."""
    dice = torch.rand(len(captions), generator=rng).tolist()
    return [
        NEUTRAL_PROMPT if d < 0.4 else NEUTRAL_NEGATIVE_PROMPT if d < 0.7 else c
        for c, d in zip(captions, dice, strict=True)
    ]
