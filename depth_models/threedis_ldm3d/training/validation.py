"""What a training shows of itself: the loss on examples it never saw, and depth maps of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from threedis_core.drawing.layout import draw_layout
from threedis_core.files.atomic import write_atomically
from threedis_core.values.layout import Layout
from threedis_ldm3d.batch import DepthBatch, generate_depth
from threedis_ldm3d.loading import LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions
from threedis_ldm3d.training.config import TrainingConfig
from threedis_ldm3d.training.shards import Shards
from threedis_ldm3d.training.task import DepthTask

CELL, GAP = 320, 4


class Validation:
    """Measures and draws the examples that are held out.

    Args:
        task: What is trained, its averaged weights in place when this is asked.
        loaded: The model.
        options: How the depth model is used while it is trained.
        examples: All examples.
        numbers: Those that are held out.
        config: The training's.
    """

    def __init__(
        self,
        task: DepthTask,
        loaded: LoadedDepthPipeline,
        options: LDM3DOptions,
        examples: Shards,
        numbers: Sequence[int],
        config: TrainingConfig,
    ) -> None:
        self._task, self._loaded, self._examples, self._config = task, loaded, examples, config
        self._numbers = numbers
        self._options = options.model_copy(
            update={
                "steps": config.validation.steps,
                "guidance": config.validation.guidance,
                "adapter_steps": _adapter_steps(config),
                "fuser_steps": None if config.fusion and config.train == "adapter" else 0,
            }
        )

    @torch.no_grad()
    def loss(self) -> float | None:
        """Mean loss of the held-out examples, with the same noise every time; None without any."""
        if not self._numbers:
            return None
        device, size = self._loaded.device, self._config.batch_size
        total = 0.0
        for start in range(0, len(self._numbers), size):
            rng = torch.Generator().manual_seed(self._config.validation.seed * 1_000 + start)
            numbers = self._numbers[start : start + size]
            batch = self._task.examples(numbers, rng)
            batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            total += float(self._task(**batch)) * len(numbers)
        return total / len(self._numbers)

    def draw(self, path: Path) -> None:
        """Write a picture: a column for each layout, what the model makes of it, and the truth."""
        numbers = self._numbers[: self._config.validation.pictures]
        if not numbers:
            return
        layouts = [self._examples.examples[number].layout for number in numbers]
        columns = zip(layouts, self._made(layouts), self._truth(numbers), strict=True)
        sheet = Image.new("RGB", (len(numbers) * (CELL + GAP), 2 * (CELL + GAP)), "white")
        for place, (layout, made, truth) in enumerate(columns):
            side = self._config.size
            boxed = draw_layout(layout, side, side, background=_grey(made))
            for row, picture in enumerate((boxed, _grey(truth))):
                cell = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
                sheet.paste(cell, (place * (CELL + GAP), row * (CELL + GAP)))
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = BytesIO()
        sheet.save(encoded, format="PNG")
        write_atomically(path, encoded.getvalue())

    def _made(self, layouts: Sequence[Layout]) -> list[Tensor]:
        side, most = self._config.size, self._config.batch_size
        made: list[Tensor] = []
        for start in range(0, len(layouts), most):
            some = [self._told(layout) for layout in layouts[start : start + most]]
            seeds = [self._config.validation.seed] * len(some)
            batch = DepthBatch(some, seeds, (side, side))
            made += generate_depth(self._loaded, batch, self._options, lambda *_: None)
        return made

    def _told(self, layout: Layout) -> Layout:
        """What the model is told of a layout, which has no more instances than in training."""
        few = layout.instances[: self._config.most_instances]
        return layout.model_copy(update={"instances": few})

    @torch.no_grad()
    def _truth(self, numbers: Sequence[int]) -> list[Tensor]:
        vae, most = self._loaded.pipeline.vae, self._config.batch_size
        truth: list[Tensor] = []
        for start in range(0, len(numbers), most):
            latents = self._examples.read(numbers[start : start + most])
            latents = latents.to(self._loaded.device, vae.dtype) / vae.config.scaling_factor
            truth += vae.decode(latents).sample[:, -1].float().cpu()
        return truth


def _adapter_steps(config: TrainingConfig) -> int:
    """The first denoising steps, which have the timesteps that the adapter is trained for."""
    share = 1 - config.noise_range[0] / 1000
    return math.ceil(share * config.validation.steps) + 1


def _grey(values: Tensor) -> Image.Image:
    levels = ((values.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()
    return Image.fromarray(levels).convert("RGB")
