"""The two things that are trained: the text-to-depth U-Net, and the layout adapter in it.

Shapes: B examples, C latent channels on an (h, w) grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from threedis_core.errors import WeightsError
from threedis_core.values.layout import Layout
from threedis_diffusers.unet.attention import attached
from threedis_ldm3d.batch import layout_hook, read_as_nouns
from threedis_ldm3d.hook import ADAPTER, FUSION
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.texts import encode_texts
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.noise import pyramid_noise
from threedis_ldm3d.training.shards import Shards
from threedis_train.engine import Task


class DepthTask(Task):
    """Predict what was added to the latents of depth maps, from their captions: trains the U-Net.

    Args:
        loaded: The model, on the training's device.
        options: How the depth model is used while it is trained.
        examples: Latents and layouts.
        numbers: Which of them to train on.
        config: The training's.
    Raises:
        WeightsError: The model's scheduler predicts neither noise nor velocity.
    """

    def __init__(
        self,
        loaded: LoadedDepthPipeline,
        options: LDM3DOptions,
        examples: Shards,
        numbers: Sequence[int],
        config: TrainingConfig,
    ) -> None:
        super().__init__()
        # No modules of this one where they are not trained: checkpoints hold what is trained.
        self._frozen = _Frozen(loaded, options)
        self._examples, self._numbers, self._config = examples, numbers, config
        self.scheduler: Any = DDPMScheduler.from_config(loaded.pipeline.scheduler.config)
        kind = self.scheduler.config.prediction_type
        if kind not in ("epsilon", "v_prediction"):
            raise WeightsError(
                f"the scheduler of '{config.model}' predicts '{kind}'; expected epsilon or "
                "v_prediction: train a model that has one of these"
            )
        for part in (loaded.pipeline.unet, loaded.pipeline.text_encoder, loaded.pipeline.vae):
            part.eval().requires_grad_(False)
        self.choose()

    def choose(self) -> None:
        """Make what is trained a module of this one."""
        self.unet = self._frozen.loaded.pipeline.unet.train().requires_grad_(True)

    def batch(self, size: int, rng: torch.Generator) -> Mapping[str, Any]:
        picks = torch.randint(len(self._numbers), (size,), generator=rng).tolist()
        return self.examples([self._numbers[pick] for pick in picks], rng)

    def examples(self, numbers: Sequence[int], rng: torch.Generator) -> Mapping[str, Any]:
        """The inputs of ``forward`` for these examples."""
        latents = self._examples.read(numbers).float()
        first, last = self._config.noise_range
        return {
            "latents": latents,
            "noise": pyramid_noise(tuple(latents.shape), self._config.pyramid_noise, rng),
            "timesteps": torch.randint(first, last + 1, (len(numbers),), generator=rng),
            "layouts": [self._layout(number, rng) for number in numbers],
        }

    def _layout(self, number: int, rng: torch.Generator) -> Layout:
        """An example's layout as the model is told of it: some instances, maybe no caption."""
        layout = self._examples.examples[number].layout
        order = torch.randperm(len(layout.instances), generator=rng).tolist()
        kept = sorted(order[: self._config.most_instances])
        changed: dict[str, Any] = {"instances": tuple(layout.instances[i] for i in kept)}
        if float(torch.rand((), generator=rng)) < self._config.caption_dropout:
            changed["prompt"] = ""
        return read_as_nouns(layout.model_copy(update=changed), None)

    def forward(
        self, latents: Tensor, noise: Tensor, timesteps: Tensor, layouts: Sequence[Layout]
    ) -> Tensor:
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        velocity = self.scheduler.config.prediction_type == "v_prediction"
        target = self.scheduler.get_velocity(latents, noise, timesteps) if velocity else noise
        found = self.predict(noisy, timesteps, layouts)
        return (found.float() - target).square().mean()

    def predict(self, noisy: Tensor, timesteps: Tensor, layouts: Sequence[Layout]) -> Tensor:
        """The U-Net's answer, shape (B, C, h, w)."""
        with torch.no_grad():
            text = encode_texts(self._frozen.loaded, [layout.prompt for layout in layouts])
        return self.unet(noisy, timesteps, text.hidden).sample


class AdapterTask(DepthTask):
    """The same with the layouts told by the adapter, which alone is trained.

    Every example has an instance: without any the adapter would have no part in the answer.
    """

    def choose(self) -> None:
        adapter = self._frozen.loaded.adapter
        if adapter is None:
            raise WeightsError(
                f"'{self._config.model}' was loaded without a layout adapter; load one, or make a "
                "new one with LayoutAdapter.for_unet"
            )
        self.adapter = adapter.train().requires_grad_(True)

    def predict(self, noisy: Tensor, timesteps: Tensor, layouts: Sequence[Layout]) -> Tensor:
        loaded, options = self._frozen.loaded, self._frozen.options
        side = self._config.size
        with torch.no_grad():
            hook, text = layout_hook(loaded, layouts, (side, side), options, guided=False)
        controls = {ADAPTER, FUSION} if self._config.fusion else {ADAPTER}
        with attached(hook):
            hook.switch(frozenset(controls))
            return loaded.pipeline.unet(noisy, timesteps, text.positive.hidden).sample


class _Frozen:
    """Holds the model without making it a module of the task."""

    def __init__(self, loaded: LoadedDepthPipeline, options: LDM3DOptions) -> None:
        self.loaded, self.options = loaded, options
