"""Previews: what a picture in the making will look like, as far as the model knows by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from threedis_core.plugin.progress import PreviewingProgress

SIDE = 32
"""Latent pixels of a preview's longer side; decoding more would cost more than it shows."""


@dataclass(frozen=True, eq=False)
class Noisy:
    """Latents that are ``signal`` times the clean ones and ``noise`` times noise of unit variance.

    Args:
        latents: Of any shape.
        signal: 0 to 1.
        noise: 0 or more.
    """

    latents: Tensor
    signal: float
    noise: float


class Previewer:
    """Shows the predicted clean latents of a batch every few steps.

    No denoising model is called for it. Large latents are made smaller before they are decoded.

    Args:
        pipeline: The pipeline that draws, its scheduler in place.
        progress: Where previews go.
        members: The place of each picture of the batch among the requests.
        size: (width, height) of the pictures in pixels.
    """

    def __init__(
        self,
        pipeline: Any,
        progress: PreviewingProgress,
        members: Sequence[int],
        size: tuple[int, int],
    ) -> None:
        self._pipeline, self._progress = pipeline, progress
        self._members, self._size = members, size
        self._before: Noisy | None = None
        self._now: Noisy | None = None

    def look(self, index: int, latents: Tensor, steps: int) -> None:
        """Take the latents that time step ``index`` has left, and show them if it is time to.

        Args:
            index: From 0 on.
            latents: The batch's, as the pipeline has them.
            steps: How many steps are done with it; 0: a step is not.
        """
        scheduler = self._pipeline.scheduler
        if not says_levels(scheduler):
            return
        signal, noise = levels(scheduler, index + 1)
        if self._now is not None and self._now.noise != noise:  # some go to one level twice
            self._before = self._now
        self._now = Noisy(latents, signal, noise)
        if self._before is None or not steps or steps % self._progress.previews_every:
            return
        clean = self._unpacked(predicted_clean(self._before, self._now))
        for member, picture in zip(self._members, decoded(self._pipeline.vae, clean), strict=True):
            self._progress.preview(member, picture)

    def _unpacked(self, latents: Tensor) -> Tensor:
        """Latents of shape (B, C, h, w); FLUX has them as tokens."""
        if latents.ndim == 4:
            return latents
        width, height = self._size
        factor = self._pipeline.vae_scale_factor
        latents = self._pipeline._unpack_latents(latents, height, width, factor)
        return latents.squeeze(2) if latents.ndim == 5 else latents  # a video's, of one frame


def _decode(vae: Any, latents: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) of a pipeline's latents (B, C, h, w), each VAE's scale undone."""
    config = vae.config
    if "latents_mean" in config and "dim_mult" in config:  # a video's VAE
        mean, std = (
            torch.tensor(config[name]).view(1, -1, 1, 1).to(latents)
            for name in ("latents_mean", "latents_std")
        )
        return vae.decode((latents * std + mean).to(vae.dtype)[:, :, None]).sample[:, :, 0]
    shift = getattr(config, "shift_factor", None) or 0
    return vae.decode((latents / config.scaling_factor + shift).to(vae.dtype)).sample


@torch.no_grad()
def decoded(vae: Any, latents: Tensor) -> list[Image.Image]:
    """RGB pictures of latents of shape (B, C, h, w), whose longer side becomes ``SIDE`` at most."""
    longest = max(latents.shape[-2:])
    if longest > SIDE:
        sides = [max(1, round(side * SIDE / longest)) for side in latents.shape[-2:]]
        latents = interpolate(latents, sides, mode="area")
    config, dtype = vae.config, vae.dtype
    overflows = dtype == torch.float16 and getattr(config, "force_upcast", False)
    if overflows:
        vae.to(torch.float32)
    try:
        pixels = _decode(vae, latents)
    finally:
        if overflows:
            vae.to(dtype)
    values = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [Image.fromarray(one) for one in values.permute(0, 2, 3, 1).cpu().numpy()]


@torch.no_grad()
def predicted_clean(before: Noisy, after: Noisy) -> Tensor:
    """The clean latents that lie on the line through two, float32.

    On a deterministic path the clean latents and the noise are the same all along, so that two
    points give both. For a stochastic scheduler, or one of higher order, that is an estimate, which
    gets better towards the end.

    Args:
        before: Latents of one noise level.
        after: The same later, of another one.
    """
    scale = before.noise * after.signal - after.noise * before.signal
    return (before.noise * after.latents.float() - after.noise * before.latents.float()) / scale


def levels(scheduler: Any, index: int) -> tuple[float, float]:
    """How much signal and noise latents hold before time step ``index``.

    Every scheduler says it its own way: flow matching mixes with 1 - sigma and sigma; those of
    Karras' kind add sigma times the noise; the others keep the variance.
    """
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is None:
        steps, table = scheduler.timesteps, scheduler.alphas_cumprod
        kept = float(table[int(steps[index])]) if index < len(steps) else 1.0
        return kept**0.5, (1 - kept) ** 0.5
    sigma = float(sigmas[min(index, len(sigmas) - 1)])
    if is_flow(scheduler):
        return 1 - sigma, sigma
    if float(getattr(scheduler, "init_noise_sigma", 1.0)) > 1:
        return 1.0, sigma
    signal = (1 + sigma**2) ** -0.5
    return signal, sigma * signal


def says_levels(scheduler: Any) -> bool:
    """True if the scheduler says how much noise there is, in a way that is known here."""
    return hasattr(scheduler, "sigmas") or hasattr(scheduler, "alphas_cumprod")


def is_flow(scheduler: Any) -> bool:
    """True if the scheduler matches flows."""
    config = scheduler.config
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return True
    return type(scheduler).__name__.startswith("FlowMatch")
