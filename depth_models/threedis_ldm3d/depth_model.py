"""The ``ldm3d`` depth model: a latent diffusion model of depth with a layout adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from threedis_core.errors import LayoutError, RenderError
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import Capabilities, DepthModel, DepthRequest
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.request_checks import check_seed
from threedis_core.run.sizes import Size, size_like
from threedis_core.values.depth import DepthMap
from threedis_diffusers.attention_kernel import attention_kernel
from threedis_diffusers.devices import prefers_half, resolve_device, resolve_dtype
from threedis_diffusers.lazy_model import LazyModel
from threedis_diffusers.memory.spreading import without_memory
from threedis_diffusers.model_files.facts import model_facts
from threedis_diffusers.model_files.requirements import inspect_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.steps import StepCounter
from threedis_ldm3d.adapter_layers import MOST_INSTANCES
from threedis_ldm3d.batch import DepthBatch, generate_depth
from threedis_ldm3d.checks import find_model, needed_models
from threedis_ldm3d.loading import USUAL_SIDE, LoadedDepthPipeline
from threedis_ldm3d.options import LDM3DOptions

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

    def inspect(self) -> Inspection:
        """The model's files and memory, without loading it and without a network."""
        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device)
        side = self._side
        models, half = [*needed_models(options)], prefers_half(options, dtype)
        with quiet():  # importing a pipeline logs what it would like to have installed
            found = inspect_model(models, device, dtype, (side, side), half=half)
        return found if options.device_map is None else without_memory(found)

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
            self.check(request)
        maps: dict[int, DepthMap] = {}
        batches, options = self._batches(requests), self.options
        with self.in_use(progress) as loaded, attention_kernel(options.attention_backend):
            for done, (members, batch) in enumerate(batches):
                before, total = done * options.steps, len(batches) * options.steps
                on_step = StepCounter(progress, before, options.steps, total, stage="depth")
                values = generate_depth(loaded, batch, options, on_step)
                if not values.isfinite().all():
                    raise RenderError(
                        f"the model makes numbers that are not finite in dtype {options.dtype}; "
                        "use dtype=bfloat16 or dtype=float32"
                    )
                made = (values.clamp(-1, 1) / 2 + 0.5).numpy()
                for index, depth in zip(members, made, strict=True):
                    full = DepthMap.normalise(depth) if options.stretch else DepthMap(depth)
                    maps[index] = full.resize(requests[index].width, requests[index].height)
        return [maps[index] for index in range(len(requests))]

    def check(self, request: DepthRequest) -> None:
        """See that the layout adapter has room for every instance.

        Raises:
            LayoutError: More than 29 instances, with an adapter.
            OptionError: A seed that is out of range.
        """
        check_seed(request.seed)
        count = len(request.layout.instances)
        if self.options.adapter is not None and count > MOST_INSTANCES:
            raise LayoutError(
                f"the layout has {count} instances, but the layout adapter of '{self.name}' takes "
                f"at most {MOST_INSTANCES}; remove some, or set adapter to null",
                code="too-many-instances",
                path="instances",
                hint="remove some, or set adapter to null",
            )

    @property
    def _side(self) -> int:
        """Of the square whose area it works at, in pixels."""
        facts = model_facts(ModelSource(self.options.model))
        return self.options.side or facts.side or USUAL_SIDE

    def _batches(self, requests: Sequence[DepthRequest]) -> list[tuple[list[int], DepthBatch]]:
        """Which requests go together, and how."""
        facts, side = model_facts(ModelSource(self.options.model)), self._side
        multiple = max(facts.vae_factor, PIPELINE_MULTIPLE)
        able = Capabilities(size_multiple=multiple, default_size=(side, side))
        groups: dict[Size, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(size_like((request.width, request.height), able), []).append(index)
        batches: list[tuple[list[int], DepthBatch]] = []
        for size, alike in groups.items():
            for start in range(0, len(alike), self.options.batch_size):
                members = alike[start : start + self.options.batch_size]
                some = [requests[index] for index in members]
                layouts, seeds = [one.layout for one in some], [one.seed for one in some]
                batches.append((members, DepthBatch(layouts, seeds, size)))
        return batches
