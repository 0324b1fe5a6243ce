"""Training of pocket-depth's U-Net and layout adapter together, on layouts as people draw them.

``threedis train layout-depth`` trains one of them at a time, as 3DIS was trained, and starts both;
here they learn in one loss to hold on to things in every step and at every size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from threedis_core.values.layout import Layout
from threedis_diffusers.unet.attention import attached
from threedis_ldm3d.batch import layout_hook, read_as_nouns
from threedis_ldm3d.hook import ADAPTER, FUSION
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.texts import encode_texts
from threedis_pocket.depth_texts import depth_layout
from threedis_pocket.layouts import scene_layout
from threedis_pocket.scenes import join_phrases
from threedis_pocket.training.diffusion import build_scheduler
from threedis_pocket.training.sets import LatentSet, loss_weights, pick
from threedis_pocket.world import Scenes
from threedis_train.engine import Task

TEXT_ALONE = 0.15
"""Share of the steps without adapter and fusion: guidance compares with the U-Net alone."""
_OTHER_PROMPTS = (
    "a picture of nothing in a room",
    "the floor of a room",
    "a room",
    "toys on the floor",
    "a photo of a still life",
    "geometric shapes",
    "low quality, blurry",
)


class WildDepthTask(Task):
    """Predict v of the latents of depth maps, from layouts.

    Args:
        loaded: The pipeline with its adapter, whose weights this starts from.
        options: How the depth model is used while it is trained.
        sets: Latents of exact depth.
    """

    def __init__(
        self, loaded: LoadedDepthPipeline, options: LDM3DOptions, sets: Sequence[LatentSet]
    ) -> None:
        super().__init__()
        assert loaded.adapter is not None
        pipeline = loaded.pipeline
        for part in (pipeline.text_encoder, pipeline.vae):
            part.eval().requires_grad_(False)
        self.unet = pipeline.unet.train().requires_grad_(True)
        self.adapter = loaded.adapter.train().requires_grad_(True)
        self._loaded = [loaded]  # not as a module: checkpoints hold what is trained
        self._options, self._sets = options, sets
        self.scheduler = build_scheduler()

    def batch(self, size: int, rng: torch.Generator) -> Mapping[str, Any]:
        picked = pick(self._sets, size, rng)
        latents = picked.read(picked.data.latents)
        alone = float(torch.rand((), generator=rng)) < TEXT_ALONE
        return {
            "latents": latents,
            "noise": torch.randn(latents.shape, generator=rng),
            "timesteps": torch.randint(0, 1000, (size,), generator=rng),
            "weights": loss_weights(picked),
            "layouts": [told(picked.scenes, number, rng, alone) for number in picked.numbers],
            "size": picked.data.pictures.size,
            "controls": frozenset[str]() if alone else frozenset({ADAPTER, FUSION}),
        }

    def forward(
        self,
        latents: Tensor,
        noise: Tensor,
        timesteps: Tensor,
        weights: Tensor,
        layouts: Sequence[Layout],
        size: tuple[int, int],
        controls: frozenset[str],
    ) -> Tensor:
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        noisy = noisy.contiguous(memory_format=torch.channels_last)  # a tenth faster on a CPU
        target = self.scheduler.get_velocity(latents, noise, timesteps)
        found = self._predict(noisy, timesteps, layouts, size, controls)
        return ((found - target).square() * weights).mean()

    def _predict(
        self,
        noisy: Tensor,
        timesteps: Tensor,
        layouts: Sequence[Layout],
        size: tuple[int, int],
        controls: frozenset[str],
    ) -> Tensor:
        loaded, (height, width) = self._loaded[0], size
        with torch.no_grad():
            if not controls:
                text = encode_texts(loaded, [layout.prompt for layout in layouts])
        if not controls:
            return self.unet(noisy, timesteps, text.hidden).sample + 0 * self._idle()
        with torch.no_grad():
            hook, batch = layout_hook(loaded, layouts, (width, height), self._options, guided=False)
        with attached(hook):
            hook.switch(controls)
            return self.unet(noisy, timesteps, batch.positive.hidden).sample

    def _idle(self) -> Tensor:
        """Zero times this gives the adapter a gradient in a step that does without it."""
        return sum(parameter.sum() for parameter in self.adapter.parameters())  # type: ignore[return-value]


def told(scenes: Scenes, index: int, rng: torch.Generator, alone: bool = False) -> Layout:
    """A scene's layout as the model may be told of it.

    Mostly as ``pocket-depth`` tells it: bare nouns, and a prompt of these. Some prompts have the
    colours, name a part, speak of something else, or are empty: the places must not hang on them.

    Args:
        alone: The text is all there is; half of the prompts are empty then, since guidance
            compares with what the model makes of nothing.
    """
    layout = read_as_nouns(depth_layout(scene_layout(scenes, index)), None)
    dice = float(torch.rand((), generator=rng))
    if alone and dice < 0.5:
        return layout.model_copy(update={"prompt": ""})
    if dice < 0.8:
        return layout
    if dice < 0.85:
        prompt = scene_layout(scenes, index).prompt
    elif dice < 0.9:
        prompt = join_phrases([f"a {one.prompt}" for one in layout.instances[::2]])
    elif dice < 0.95:
        prompt = _OTHER_PROMPTS[int(torch.randint(len(_OTHER_PROMPTS), (), generator=rng))]
    else:
        prompt = ""
    return layout.model_copy(update={"prompt": prompt})
