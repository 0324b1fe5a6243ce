"""Renderers with joint attention that are given the depth by a ControlNet of diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from threedis_core.attention import JointPhases, TokenOrder
from threedis_core.errors import WeightsError
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.finding import check_class
from threedis_diffusers.joint.hook import JointHook
from threedis_diffusers.joint.options import ControlNetOptions
from threedis_diffusers.joint.renderer import JointRenderer
from threedis_diffusers.model_files.checks import WEIGHTS_STEM, check_part, read_configuration
from threedis_diffusers.model_files.facts import read_if_local
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import FoundParts, find_quantization
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.parts.place import CONFIG, folder_of, part_place

CONTROLNET = "controlnet"


class JointControlNetRenderer(JointRenderer):
    """Render depth maps with a transformer and its depth ControlNet.

    The ControlNet reads the global prompt as the stock pipeline gives it, and no instance's.

    Attributes:
        controlnet_class: The ControlNet's class in diffusers.
        default_controlnet: Hub id of the one that is used where nobody names one.
        controlnet_fits: Settings that it shares with the transformer.
    """

    Options: ClassVar[type[ControlNetOptions]]
    options: ControlNetOptions
    apart = (CONTROLNET,)
    controlnet_class: ClassVar[str]
    default_controlnet: ClassVar[str]
    controlnet_fits: ClassVar[tuple[str, ...]] = ("in_channels", "pooled_projection_dim")

    def check_controlnet(self, config: dict[str, Any], name: str) -> None:
        """See that a ControlNet can be used as the options say, by its configuration.

        Raises:
            OptionError: It cannot.
            WeightsError: It is of another kind.
        """
        check_class(config, self.controlnet_class, CONTROLNET, name)

    def most_positions(self) -> int | None:
        """The transformer's, or the ControlNet's if it has fewer."""
        source = self.controlnet_source()
        config = read_if_local(folder_of(source, CONTROLNET), CONFIG) if source.is_local else {}
        known = (super().most_positions(), config.get("pos_embed_max_size"))
        return min((one for one in known if one is not None), default=None)

    def arguments(self, pipeline: Any, batch: Batch) -> dict[str, Any]:
        """How much the depth counts, and when."""
        return {
            "controlnet_conditioning_scale": self.options.controlnet_scale,
            "control_guidance_start": self.options.controlnet_start,
            "control_guidance_end": self.options.controlnet_end,
        }

    def other_hooks(self, pipeline: Any, phases: JointPhases) -> Sequence[JointHook]:
        """One that hides the padding of a batch's texts from a ControlNet that reads them."""
        if pipeline.controlnet.config.joint_attention_dim is None:
            return ()
        plain = phases.plain(self.controlnet_order(pipeline))
        return [self.controlnet_hook(pipeline.controlnet, plain)]

    def controlnet_order(self, pipeline: Any) -> TokenOrder:
        """Where the ControlNet keeps its tokens."""
        return self.order

    def controlnet_hook(self, controlnet: Any, phases: JointPhases) -> JointHook:
        """The ControlNet's hook."""
        return JointHook(controlnet, phases, self.site)

    def controlnet_source(self, half: bool = False) -> ModelSource:
        """Where the ControlNet is: the one named, the one in the model's folder, or the default."""
        model, named = ModelSource(self.options.model), self.options.controlnet
        if named is None and model.is_local and (model.path / CONTROLNET).is_dir():
            return replace(model, subfolder=CONTROLNET, half=half)
        place = part_place(self.default_controlnet if named is None else named, half)
        if place.file:
            raise WeightsError(
                f"controlnet '{named}' is one file; expected a folder or hub id in diffusers "
                "format: convert it first",
                path=CONTROLNET,
                hint="name a folder or hub id in diffusers format",
            )
        return place.source

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline, its parts that come from elsewhere, and the ControlNet."""
        source = self.controlnet_source()
        return [*super().needed_models(), NeededModel(source, self._look_at, CONTROLNET)]

    def _look_at(self, source: ModelSource) -> None:
        source = folder_of(source, CONTROLNET)
        check_part(source, "", WEIGHTS_STEM)
        if config := source.read(CONFIG):
            self.check_controlnet(config, source.name)

    def more_parts(self, found: FoundParts, model: ModelSource, dtype: torch.dtype) -> FoundParts:
        """What was found, and the ControlNet.

        Raises:
            OptionError: It cannot be quantised, or used, as the options say.
            WeightsError: A file is missing, or it is of another kind or for another model.
        """
        source = folder_of(self.controlnet_source(model.half), CONTROLNET)
        config = read_configuration(source, CONFIG)
        self.check_controlnet(config, source.name)
        transformer = found.configuration("transformer", model)
        for key in self.controlnet_fits:
            if config.get(key) != transformer.get(key):
                raise WeightsError(
                    f"ControlNet '{source.name}' has {key} {config.get(key)}, but the model has "
                    f"{transformer.get(key)}; name a ControlNet that was trained for this base "
                    "model",
                    path=CONTROLNET,
                    hint="name a ControlNet that was trained for this base model",
                )
        wanted = self.options.wanted.get(CONTROLNET)
        quantization = find_quantization(config, wanted, CONTROLNET, source.name, dtype)
        ending = check_part(source, "", WEIGHTS_STEM)
        part = PipelinePart(source, self.controlnet_class, ending, quantization=quantization)
        return replace(found, parts={**found.parts, CONTROLNET: part})
