"""The ``ldm3d`` depth model: a latent diffusion model of depth with a layout adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from threedis_core.errors import LayoutError, RenderError
from threedis_core.plugin.interfaces import Capabilities, DepthModel, DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.request_checks import check_seed
from threedis_core.run.sizes import Size, size_like
from threedis_core.values.depth import DepthMap
from threedis_diffusers.batch import OnStep, step_counter
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.model_files.sources import ModelSource, native_side, vae_factor
from threedis_ldm3d.adapter_layers import MOST_INSTANCES
from threedis_ldm3d.batch import DepthBatch, generate_depth, read_as_nouns
from threedis_ldm3d.loading import LoadedDepthPipeline, find_model
from threedis_ldm3d.options import LDM3DOptions

USUAL_SIDE = 512
PIPELINE_MULTIPLE = 8
"""The stock pipeline wants sides that are multiples of it, whatever the VAE."""


class LDM3D(LazyModel[LoadedDepthPipeline], DepthModel):
    """Turn layouts into depth maps with LDM3D's classes and the layout adapter of 3DIS.

    The model works at its own area in the proportions of the request (512 x 512 pixels for a
    square), where it is at its best; the map is then resized to the request's size.

    How decoded values become a map: the last channel x of the decoded picture, which lies about
    in [-1, 1] and is greatest where the scene is nearest, is clipped to [-1, 1] and moved to
    x / 2 + 1 / 2. With ``stretch`` its least value then becomes 0 and its greatest 1; a map of one
    value becomes 0. It is float32 all along.
    """

    Options: ClassVar[type[LDM3DOptions]] = LDM3DOptions
    options: LDM3DOptions
    name: ClassVar[str] = "ldm3d"

    def find(self) -> Callable[[], LoadedDepthPipeline]:
        """Check the options and every file of the model, its adapter and its LoRAs."""
        return find_model(self.options).load

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """Make one depth map per request; the same seed gives the same map.

        Raises:
            LayoutError: More than 29 instances, with an adapter.
            OptionError: A seed that is out of range, or an option this machine cannot serve.
            WeightsError: A file is missing, damaged or does not fit.
            RenderError: This backend is at work already, or the model makes no numbers.
        """
        for request in requests:
            self._check(request)
        with self.in_use() as loaded:
            maps: dict[int, DepthMap] = {}
            batches = list(self._batches(requests))
            total = self.options.steps * len(batches)
            for done, (size, members) in enumerate(batches):
                before = done * self.options.steps
                on_step = step_counter(progress, before, self.options.steps, total, stage="depth")
                batch = self._batch([requests[index] for index in members], size)
                for index, values in zip(members, self._run(loaded, batch, on_step), strict=True):
                    made = self._to_map(values)
                    maps[index] = made.resize(requests[index].width, requests[index].height)
        return [maps[index] for index in range(len(requests))]

    def _check(self, request: DepthRequest) -> None:
        check_seed(request.seed)
        count = len(request.layout.instances)
        if self.options.adapter is not None and count > MOST_INSTANCES:
            raise LayoutError(
                f"the layout has {count} instances, but the layout adapter of '{self.name}' takes "
                f"at most {MOST_INSTANCES}; remove some, or set adapter to null"
            )

    def _batches(self, requests: Sequence[DepthRequest]) -> Iterator[tuple[Size, list[int]]]:
        """The working size of each batch and which requests are in it."""
        model = ModelSource(self.options.model)
        factor = vae_factor(model)
        side = self.options.side or native_side(model, factor, USUAL_SIDE)
        multiple = max(factor, PIPELINE_MULTIPLE)
        able = Capabilities(size_multiple=multiple, default_size=(side, side))
        groups: dict[Size, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(size_like((request.width, request.height), able), []).append(index)
        most = self.options.batch_size
        for size, members in groups.items():
            for start in range(0, len(members), most):
                yield size, members[start : start + most]

    def _batch(self, requests: Sequence[DepthRequest], size: Size) -> DepthBatch:
        negative = self.options.negative_prompt
        layouts = [read_as_nouns(request.layout, negative) for request in requests]
        return DepthBatch(layouts, [request.seed for request in requests], size)

    def _run(self, loaded: LoadedDepthPipeline, batch: DepthBatch, on_step: OnStep) -> Tensor:
        try:
            return generate_depth(loaded, batch, self.options, on_step)
        except torch.OutOfMemoryError as error:
            loaded.pipeline.maybe_free_model_hooks()
            raise RenderError(
                f"the device's memory is too small for {len(batch.layouts)} depth maps at once; "
                "set batch_size to less, or offload=model"
            ) from error
        except BaseException:
            loaded.pipeline.maybe_free_model_hooks()
            raise

    def _to_map(self, values: Tensor) -> DepthMap:
        if not values.isfinite().all():
            raise RenderError(
                f"the model makes numbers that are not finite in dtype {self.options.dtype}; use "
                "dtype=bfloat16 or dtype=float32"
            )
        depth = (values.clamp(-1, 1) / 2 + 0.5).numpy()
        return DepthMap.normalise(depth) if self.options.stretch else DepthMap(depth)
