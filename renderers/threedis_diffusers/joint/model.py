"""A model with joint attention: what files it needs, found and checked before any is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from threedis_core.errors import WeightsError
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.devices import prefers_half, resolve_device, resolve_dtype
from threedis_diffusers.joint.finding import Fits, check_class, check_fits, check_loras, start_flow
from threedis_diffusers.joint.loading import CheckedModel
from threedis_diffusers.joint.lowering import check_lowering
from threedis_diffusers.joint.options import JointOptions
from threedis_diffusers.loras import find_loras
from threedis_diffusers.model_files.checks import TEMPLATE_FILE, check_model
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.find import FoundParts, find_parts, needed_parts
from threedis_diffusers.schedulers import FLOW_SCHEDULERS, find_scheduler


class JointModel(DiffusersRenderer):
    """The part of a renderer that finds its model's files.

    Attributes:
        pipeline_class: The pipeline's class in diffusers.
        model_classes: Pipeline classes that a model may have been saved with.
        transformer_class: The transformer's class.
        needed: Parts without which a model does not work.
        left_out_by: By part that a model may do without, the option that leaves it out.
        fits: By part of the pipeline, which of its settings is which of the transformer's.
        templated: True if prompts are read in the chat template of the tokenizer.
        apart: Parts that the family finds by itself, in ``more_parts``.
    """

    Options: ClassVar[type[JointOptions]]
    options: JointOptions
    accelerated: ClassVar[torch.dtype] = torch.bfloat16
    for_cards: ClassVar[Mapping[str, Any]] = {"dtype": "bfloat16"}
    pipeline_class: ClassVar[str]
    model_classes: ClassVar[tuple[str, ...]]
    transformer_class: ClassVar[str]
    needed: ClassVar[tuple[str, ...]]
    left_out_by: ClassVar[Mapping[str, str]] = {}
    fits: ClassVar[Fits] = {}
    templated: ClassVar[bool] = False
    apart: ClassVar[tuple[str, ...]] = ()

    @property
    def every_lora(self) -> Sequence[LoRA]:
        """The LoRAs that count everywhere, in the order of loading."""
        return self.options.loras

    @property
    def absent(self) -> Sequence[str]:
        """The parts that the options leave out."""
        return ()

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline, and its parts that come from elsewhere."""
        check = self.check_files
        model = ModelSource(self.options.model)
        return [
            NeededModel(model, check, pipeline=self.pipeline_class),
            *needed_parts(self.options, self.apart),
        ]

    def check_files(self, model: ModelSource) -> dict[str, str]:
        """See that the model's own files are there; the ending of each part's weights file.

        Raises:
            WeightsError: A file is missing or unreadable, or it is another kind of model.
        """
        replaced = [part for part in self.options.replaced if part not in self.apart]
        needed = [part for part in self.needed if part not in self.absent]
        try:
            endings = check_model(model, self.model_classes, needed, [*replaced, *self.absent])
        except WeightsError as error:
            raise self._with_option(error) from error
        if self.templated:
            told = model.read("tokenizer/tokenizer_config.json")
            if not told.get("chat_template"):
                model.require(f"tokenizer/{TEMPLATE_FILE}")
        if "transformer" not in replaced:
            config = model.read("transformer/config.json")
            check_class(config, self.transformer_class, "transformer", self.options.model)
        return endings

    def _with_option(self, error: WeightsError) -> WeightsError:
        """The error, with the option that leaves out the part that it is about, if there is one."""
        for part, option in self.left_out_by.items():
            if part in str(error) and part not in self.absent:
                todo = f"to do without the {part}, set {option}"
                return WeightsError(f"{error}; {todo}", path=part, hint=todo)
        return error

    def check_parts(self, found: FoundParts, model: ModelSource) -> None:
        """See that what comes from elsewhere fits into the model.

        Raises:
            OptionError: It cannot be as the options say.
            WeightsError: It does not fit.
        """
        config = found.configuration("transformer", model)
        if "transformer" in found.parts:
            name = self.options.replaced["transformer"]
            check_class(config, self.transformer_class, "transformer", name)
        if found.parts:
            fits = {part: keys for part, keys in self.fits.items() if part not in self.absent}
            check_fits(fits, found, model)

    def start(self, scheduler: Any, steps: int) -> None:
        """Make a scheduler ready as the pipeline does."""
        start_flow(scheduler, steps)

    def unquantised(self) -> Mapping[str, tuple[str, ...]]:
        """By part, layers that are never quantised."""
        return {}

    def more_parts(self, found: FoundParts, model: ModelSource, dtype: torch.dtype) -> FoundParts:
        """What was found, with the parts that are ``apart``."""
        return found

    def prepare(self, pipeline: Any) -> None:
        """Do what is to be done with a pipeline whose LoRAs are loaded, before it is placed."""

    def find(self) -> Callable[[], LoadedPipeline]:
        """Check the options and every file of the model and its LoRAs."""
        options = self.options
        device = resolve_device(options)
        dtype = resolve_dtype(options, device, self.accelerated)
        check_lowering(options, device)
        model = ModelSource(options.model, half=prefers_half(options, dtype))
        endings = self.check_files(model)
        found = find_parts(options, model, dtype, apart=self.apart, keep=self.unquantised())
        self.check_parts(found, model)
        found = self.more_parts(found, model, dtype)
        loras = self.every_lora
        check_loras(options, loras)
        files = find_loras([*loras, *options.instance_loras.values()])
        start = partial(self.start, steps=options.steps)
        scheduler = find_scheduler(options.scheduler, model, start, FLOW_SCHEDULERS, options.family)
        return CheckedModel(
            options,
            self.pipeline_class,
            endings,
            loras,
            files,
            scheduler,
            found,
            device,
            dtype,
            self.prepare,
            self.absent,
        ).load
