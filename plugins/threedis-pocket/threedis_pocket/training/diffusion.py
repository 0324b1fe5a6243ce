"""Training of the pocket U-Net with its depth ControlNet, on latents, depth and captions.

Shapes: B pictures, C latent channels, T = 77 tokens, D text width.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.lib.format import open_memmap
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from threedis_core.plugin.progress import Progress, silent
from threedis_diffusers.unet.prompts import NEUTRAL_NEGATIVE_PROMPT, NEUTRAL_PROMPT
from threedis_pocket.scenes import join_phrases, phrase
from threedis_pocket.training.data import Pictures, kept_array, to_model
from threedis_pocket.training.sets import LatentSet, loss_weights, pick, worse_depth
from threedis_pocket.training.text import pad_to
from threedis_pocket.world import Scenes
from threedis_train.engine import Task


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


def encode_latents(vae: AutoencoderKL, data: Pictures, progress: Progress = silent) -> np.ndarray:
    """Posterior means of all pictures, (count, C, H / factor, W / factor) float16.

    Made once for each autoencoder: the file beside the pictures is named by its weights' checksum.
    """
    return _encode(vae, data.rgb, data.folder / f"latents-{_checksum(vae)}.npy", progress)


def encode_depth(vae: AutoencoderKL, data: Pictures, progress: Progress = silent) -> np.ndarray:
    """The same of all depth maps, as pictures of as many channels as the autoencoder reads."""
    channels = vae.config.in_channels
    grey = np.broadcast_to(data.depth[..., None], (*data.depth.shape, channels))
    return _encode(vae, grey, data.folder / f"depth-latents-{_checksum(vae)}.npy", progress)


@torch.no_grad()
def _encode(vae: AutoencoderKL, rgb: np.ndarray, path: Path, progress: Progress) -> np.ndarray:
    count, factor = len(rgb), vae_factor(vae)
    height, width = rgb.shape[1] // factor, rgb.shape[2] // factor
    shape = (count, vae.config.latent_channels, height, width)
    if (kept := kept_array(path, shape, np.float16)) is not None:
        return kept
    part = path.with_suffix(".part.npy")
    latents = open_memmap(part, "w+", np.float16, shape)
    for start in range(0, count, 32):
        pixels = to_model(rgb[start : start + 32])
        latents[start : start + 32] = vae.encode(pixels).latent_dist.mean.half().numpy()
        progress("encode", min(start + 32, count), count)
    latents.flush()
    part.replace(path)
    return open_memmap(path, "r")


def vae_factor(vae: AutoencoderKL) -> int:
    """Pixels per latent along one side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


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
    objects = _shuffled(scenes, index, rng)
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


def whole_caption(scenes: Scenes, index: int, rng: torch.Generator) -> str:
    """Everything that is in scene ``index``, in random order: what a global prompt says."""
    return join_phrases([phrase(*o) for o in _shuffled(scenes, index, rng)])


def _shuffled(scenes: Scenes, index: int, rng: torch.Generator) -> list[tuple[int, int]]:
    """The (colour, shape) pairs of scene ``index`` in random order."""
    shapes, colours = scenes.shapes[index].tolist(), scenes.colours[index].tolist()
    objects = [(c, s) for c, s in zip(colours, shapes, strict=True) if s >= 0]
    return [objects[i] for i in torch.randperm(len(objects), generator=rng).tolist()]


class DiffusionTask(Task):
    """Predict v from noisy latents, a caption and a depth map; the text encoder is frozen.

    Args:
        unet, controlnet: Trained together.
        text_encoder, tokenizer: Of the captions.
        sets: The pictures.
        wild: Small objects count more, and some depth maps are blurred.
        fine: Every object counts the same, and every noise: colours are known, shapes are not.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        sets: Sequence[LatentSet],
        wild: bool = False,
        fine: bool = False,
    ) -> None:
        super().__init__()
        self.unet, self.controlnet = unet, controlnet
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.tokenizer, self.sets, self.wild, self.fine = tokenizer, sets, wild, fine
        self.scheduler = build_scheduler()

    def batch(self, size: int, rng: torch.Generator) -> dict[str, Tensor]:
        picked = pick(self.sets, size, rng)
        latents = picked.read(picked.data.latents)
        depth = picked.read(picked.data.pictures.depth)[:, None] / 255
        captions = [caption(picked.scenes, i, rng) for i in picked.numbers]
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=rng),
            "timesteps": timesteps(size, rng, 0.0 if self.fine else 0.5),
            "depth": (worse_depth(depth, rng) if self.wild else depth).expand(-1, 3, -1, -1),
            "ids": pad_to(self.tokenizer, captions, 77),
            "control_ids": pad_to(self.tokenizer, _control_prompts(captions, rng), 77),
            "control_on": (torch.rand(size, generator=rng) >= 0.05).float(),
            "weights": loss_weights(picked, self.fine) if self.wild else torch.ones(()),
        }

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Text embeddings (B, T, D) and, where the family has them, pooled ones (B, P)."""
        return self.text_encoder(ids).last_hidden_state, None

    def conditions(self, pooled: Tensor | None, size: tuple[int, int]) -> dict[str, Tensor] | None:
        """What the family's U-Net is told beside the text, of pictures of (height, width)."""
        return None

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        depth: Tensor,
        ids: Tensor,
        control_ids: Tensor,
        control_on: Tensor,
        weights: Tensor,
    ) -> Tensor:
        with torch.no_grad():
            text, pooled = self.encode(ids)
            control_text, _ = self.encode(control_ids)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)  # a tenth faster on a CPU
        target = self.scheduler.get_velocity(latents, noise, timesteps)
        added = self.conditions(pooled, (depth.shape[2], depth.shape[3]))
        down, middle = self.controlnet(
            noisy, timesteps, control_text, depth, added_cond_kwargs=added, return_dict=False
        )
        keep = control_on[:, None, None, None]
        out = self.unet(
            noisy,
            timesteps,
            text,
            added_cond_kwargs=added,
            down_block_additional_residuals=[d * keep for d in down],
            mid_block_additional_residual=middle * keep,
        ).sample
        return ((out - target).square() * weights).mean()


class SDXLTask(DiffusionTask):
    """The same with two text encoders, both read before their last layer, and time ids."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        controlnet: ControlNetModel,
        text_encoder: CLIPTextModel,
        text_encoder_2: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        sets: Sequence[LatentSet],
        wild: bool = False,
        fine: bool = False,
    ) -> None:
        super().__init__(unet, controlnet, text_encoder, tokenizer, sets, wild, fine)
        self.text_encoder_2 = text_encoder_2.eval().requires_grad_(False)

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        first = self.text_encoder(ids, output_hidden_states=True)
        second = self.text_encoder_2(ids, output_hidden_states=True)
        hidden = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
        return hidden, second.text_embeds

    def conditions(self, pooled: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        ids = pooled.new_tensor([*size, 0, 0, *size])  # original size, crop, target
        return {"text_embeds": pooled, "time_ids": ids.expand(len(pooled), -1)}


def timesteps(size: int, rng: torch.Generator, early: float) -> Tensor:
    """A share ``early`` of the steps where colours are decided (600-999), the rest anywhere."""
    low = torch.randint(0, 1000, (size,), generator=rng)
    high = torch.randint(600, 1000, (size,), generator=rng)
    return torch.where(torch.rand(size, generator=rng) < 1 - early, low, high)


def _control_prompts(captions: list[str], rng: torch.Generator) -> list[str]:
    """The ControlNet mostly sees the neutral prompts that the renderers give it."""
    dice = torch.rand(len(captions), generator=rng).tolist()
    return [
        NEUTRAL_PROMPT if d < 0.4 else NEUTRAL_NEGATIVE_PROMPT if d < 0.7 else c
        for c, d in zip(captions, dice, strict=True)
    ]
