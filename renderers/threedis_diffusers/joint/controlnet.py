"""Renderers with joint attention that are given the depth by a ControlNet of diffusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from threedis_core.attention import JointPhases, TokenOrder
from threedis_core.errors import WeightsError
from threedis_diffusers.batch import Batch
from threedis_diffusers.joint.finding import check_class
from threedis_diffusers.joint.hook import JointHook
from threedis_diffusers.joint.options import ControlNetOptions, ScaledControlNetOptions
from threedis_diffusers.joint.renderer import JointRenderer
from threedis_diffusers.model_files.checks import WEIGHTS_STEM, check_part, read_configuration
from threedis_diffusers.model_files.facts import read_if_local
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import FoundParts, find_quantization, needed_part
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.parts.one_file import OneFile
from threedis_diffusers.parts.place import CONFIG, PartPlace, folder_of, part_place

CONTROLNET = "controlnet"


class JointControlNetRenderer(JointRenderer):
    """Render depth maps with a transformer and its depth ControlNet.

    The ControlNet reads the global prompt as the stock pipeline gives it, and no instance's.

    Attributes:
        controlnet_class: The ControlNet's class in diffusers.
        default_controlnet: Hub id of the one that is used where nobody names one.
        controlnet_fits: Settings that it shares with the transformer.
        describe_file: What describes a ControlNet that is published as one file without a
            configuration, by that file and the transformer's configuration; None: it never is.
    """

    Options: ClassVar[type[ScaledControlNetOptions]]
    options: ScaledControlNetOptions
    apart = (CONTROLNET,)
    controlnet_class: ClassVar[str]
    default_controlnet: ClassVar[str]
    controlnet_fits: ClassVar[tuple[str, ...]] = ("in_channels", "pooled_projection_dim")
    describe_file: ClassVar[Callable[[Path, Mapping[str, Any]], dict[str, Any]] | None] = None

    def check_controlnet(self, config: dict[str, Any], name: str) -> None:
        """See that a ControlNet can be used as the options say, by its configuration.

        Raises:
            OptionError: It cannot.
            WeightsError: It is of another kind.
        """
        check_class(config, self.controlnet_class, CONTROLNET, name)

    def most_positions(self) -> int | None:
        """The transformer's, or the ControlNet's if it has fewer."""
        place = self.controlnet_place()
        here = place.source.is_local and not place.file
        config = read_if_local(folder_of(place.source, CONTROLNET), CONFIG) if here else {}
        known = (super().most_positions(), config.get("pos_embed_max_size"))
        return min((one for one in known if one is not None), default=None)

    def arguments(self, pipeline: Any, batch: Batch) -> dict[str, Any]:
        """How much the depth counts, and when."""
        options = self.options
        given: dict[str, Any] = {"controlnet_conditioning_scale": options.controlnet_scale}
        if isinstance(options, ControlNetOptions):
            given["control_guidance_start"] = options.controlnet_start
            given["control_guidance_end"] = options.controlnet_end
        return given

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

    def controlnet_place(self, half: bool = False) -> PartPlace:
        """Where the ControlNet is: the one named, the one in the model's folder, or the default."""
        model, named = ModelSource(self.options.model), self.options.controlnet
        if named is None and model.is_local and (model.path / CONTROLNET).is_dir():
            return PartPlace(replace(model, subfolder=CONTROLNET, half=half))
        place = part_place(self.default_controlnet if named is None else named, half)
        if place.file and self.describe_file is None:
            raise WeightsError(
                f"controlnet '{named}' is one file, from which diffusers reads no "
                f"{self.controlnet_class}; expected a folder or hub id in diffusers format, such "
                f"as {self.default_controlnet}. If its weights are named as there, put it into a "
                f"folder as {WEIGHTS_STEM}.safetensors, beside that config.json; else "
                "convert it by one of the scripts that diffusers has for it",
                path=CONTROLNET,
                hint="name a folder or hub id in diffusers format, or convert it",
            )
        return place

    def needed_models(self) -> Sequence[NeededModel]:
        """The pipeline, its parts that come from elsewhere, and the ControlNet."""
        place, others = self.controlnet_place(), super().needed_models()
        if place.file:
            return [*others, needed_part(place, CONTROLNET)]
        return [*others, NeededModel(place.source, self._look_at, CONTROLNET)]

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
        place, transformer = (
            self.controlnet_place(model.half),
            found.configuration("transformer", model),
        )
        part = self._one_file(place, transformer) if place.file else self._folder(place, dtype)
        if config := part.configuration:
            self._check_fit(config, transformer, place.source.name)
        return replace(found, parts={**found.parts, CONTROLNET: part})

    def _check_fit(self, config: Mapping[str, Any], transformer: Any, name: str) -> None:
        for key in self.controlnet_fits:
            if config.get(key) != transformer.get(key):
                raise WeightsError(
                    f"ControlNet '{name}' has {key} {config.get(key)}, but the model has "
                    f"{transformer.get(key)}; name a ControlNet that was trained for this base "
                    "model",
                    path=CONTROLNET,
                    hint="name a ControlNet that was trained for this base model",
                )

    def _folder(self, place: PartPlace, dtype: torch.dtype) -> PipelinePart:
        source = folder_of(place.source, CONTROLNET)
        config = read_configuration(source, CONFIG)
        self.check_controlnet(config, source.name)
        wanted = self.options.wanted.get(CONTROLNET)
        quantization = find_quantization(config, wanted, CONTROLNET, source.name, dtype)
        ending = check_part(source, "", WEIGHTS_STEM)
        return PipelinePart(source, self.controlnet_class, ending, quantization=quantization)

    def _one_file(self, place: PartPlace, transformer: Mapping[str, Any]) -> OneFile:
        describe = type(self).describe_file
        assert describe is not None  # or the place would have been refused
        part = OneFile(
            place.source,
            place.file,
            CONTROLNET,
            self.controlnet_class,
            "diffusers",
            lambda path: describe(path, transformer),
            self.options.wanted.get(CONTROLNET),
        )
        part.check()
        return part
