"""Where a model, its ControlNet and its VAE lie, what their files tell, and how all are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.embeddings import load_embeddings
from threedis_diffusers.loading import compile_blocks, load_loras, load_pipeline
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.memory.placing import place
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.single_file import SingleFile
from threedis_diffusers.model_files.sources import ModelSource, is_single_file
from threedis_diffusers.parts.find import FoundParts, Part
from threedis_diffusers.parts.place import PartPlace, part_place
from threedis_sd.controlnets import joined
from threedis_sd.options import UNetOptions

CONTROLNET = "controlnet"
FITS = {
    "unet": ("in_channels", "cross_attention_dim"),
    "vae": ("latent_channels",),
    "text_encoder": ("hidden_size",),
    "text_encoder_2": ("hidden_size", "projection_dim"),
}
"""What of a part's configuration has to be as in that of the part that it replaces."""


@dataclass(frozen=True, eq=False)
class CheckedPipeline:
    """A pipeline all of whose files were found and checked, and none of whose weights is loaded.

    Args:
        options: The renderer's.
        pipeline_class: Its class's name in diffusers, which takes seconds to import.
        load_model: What loads it; see ``find_model``.
        found: Its ControlNet, the parts that come from elsewhere, and what is quantised.
        scheduler: The scheduler, ready to use.
        loras: Where each LoRA of the options is, those for instances last.
        embeddings: Where each word's embedding is.
        device: Where it will run.
        dtype: The number format of its weights.
        side: Of the pictures that there has to be room for, in pixels.
        more_controlnets: Those beside the depth ControlNet.
    """

    options: UNetOptions
    pipeline_class: str
    load_model: Callable[..., Any]
    found: FoundParts
    scheduler: Any
    loras: Sequence[LoRAFile]
    embeddings: Mapping[str, LoRAFile]
    device: torch.device
    dtype: torch.dtype
    side: int
    more_controlnets: Sequence[Part] = ()

    def load(self) -> LoadedPipeline:
        """Load the model, its parts and its LoRAs, and put them where they run.

        Raises:
            WeightsError: A file is damaged, or does not fit the model.
        """
        import diffusers

        given = {**self.found.load(self.dtype), **self.found.arguments}
        kind = getattr(diffusers, self.pipeline_class)
        pipeline = self.load_model(kind, self.dtype, **given)
        pipeline.scheduler = self.scheduler
        options = self.options
        load_embeddings(pipeline, self.embeddings)
        own = load_loras(pipeline, options.loras, self.loras, options.instance_loras)
        self.found.keep_in_fp8(pipeline, self.dtype)
        if self.more_controlnets:  # last, since what is above is meant for the depth ControlNet
            others = [part.load(self.dtype) for part in self.more_controlnets]
            pipeline.register_modules(controlnet=joined(pipeline.controlnet, others))
        offload = place(pipeline, options, self.device, self.side)
        if options.compile:
            compile_blocks(pipeline.unet)
            compile_blocks(pipeline.controlnet)
        return LoadedPipeline(pipeline, self.device, self.dtype, offload, own)


def check_clip_skip(skip: int | None, model: ModelSource, parts: Sequence[str]) -> None:
    """See that a model's text encoders have as many layers as are left out, and more.

    Args:
        skip: How many are; None: none.
        model: Where the model's configuration is.
        parts: The model's parts, text encoders among them.

    Raises:
        OptionError: One has not.
    """
    for part in parts if skip else ():
        if not part.startswith("text_encoder"):
            continue
        layers = model.read(f"{part}/config.json").get("num_hidden_layers")
        if skip and layers is not None and skip >= layers:
            raise OptionError(
                f"clip_skip is {skip}, but the {part} of '{model.name}' has {layers} layers; "
                f"expected less than {layers}",
                code="wrong-value",
                path="clip_skip",
            )


@dataclass(frozen=True)
class CheckedFolder:
    """A model in diffusers format all of whose files are there.

    Args:
        source: Where it is.
        endings: By part that is loaded from it, the ending of the weights file.
    """

    source: ModelSource
    endings: Mapping[str, str]

    def load(self, pipeline_class: Any, dtype: torch.dtype, **parts: Any) -> Any:
        """Load it; see ``load_pipeline``."""
        return load_pipeline(pipeline_class, self.source, self.endings, dtype, **parts)


def model_source(options: UNetOptions, default_model: str) -> ModelSource:
    """Where the model's configuration is: with its weights, or beside them if they are one file."""
    if is_single_file(options.model):
        return ModelSource(options.config or default_model)
    return ModelSource(options.model)


def own_controlnet(model: ModelSource, default: str) -> ModelSource:
    """Where the ControlNet is that nobody named: in the model's folder if there is one."""
    if model.is_local and (model.path / CONTROLNET).is_dir():
        return ModelSource(model.name, CONTROLNET)
    return ModelSource(default)


def controlnet_place(options: UNetOptions, own: ModelSource, half: bool = False) -> PartPlace:
    """Where the ControlNet is: the one that ``options`` name, or its ``own``."""
    if options.controlnet is not None:
        return part_place(options.controlnet, half)
    return PartPlace(replace(own, half=half))


def find_model(
    options: UNetOptions,
    model: ModelSource,
    family: str,
    classes: Sequence[str],
    needed: Sequence[str],
) -> Callable[..., Any]:
    """See that a model's files are there, in one of the forms that a model comes in.

    Args:
        options: They name the model.
        model: Where its configuration is; see ``model_source``.
        family: Whose checkpoint a single file must be.
        classes: Pipeline classes that will do.
        needed: Parts without which it does not work.
    Returns:
        What loads it: called with a pipeline class, a dtype, and parts that are loaded already.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    replaced = replaced_parts(options)
    if not is_single_file(options.model):
        return CheckedFolder(model, check_model(model, classes, needed, replaced)).load
    file = SingleFile(Path(expanduser(options.model)), model)
    file.check(family, classes, needed, replaced)
    return file.load


def replaced_parts(options: UNetOptions) -> tuple[str, ...]:
    """The model's own parts that ``options`` replace by others."""
    return tuple(part for part in options.replaced if part != CONTROLNET)


def check_fit(options: UNetOptions, found: FoundParts, model: ModelSource) -> None:
    """See that parts from elsewhere fit into the model, and that its own can be quantised.

    Args:
        options: They name the model.
        found: The parts.
        model: Where the configuration of its own is.
    Raises:
        OptionError: The model is one file, of which no part can be quantised while it loads.
        WeightsError: A part is of another kind.
    """
    if found.configs and is_single_file(options.model):
        part = next(iter(found.configs))
        raise OptionError(
            f"quantization names the {part}, but '{options.model}' is one file, whose parts are "
            f"not quantised while they load; use fp8, or set {part} to a folder or file of its own",
            path="quantization",
            hint=f"use fp8, or set {part} to a folder or file of its own",
        )
    for part, keys in FITS.items():
        if part not in found.parts:
            continue
        own, config = model.read(f"{part}/config.json"), found.configuration(part, model)
        for key in keys:
            if config.get(key) != own.get(key):
                raise WeightsError(
                    f"the {part} has {key} {config.get(key)}, but the model's own has "
                    f"{own.get(key)}; name a {part} made for this model",
                    path=part,
                    hint=f"name a {part} made for this model",
                )
