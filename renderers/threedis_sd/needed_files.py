"""What a Stable Diffusion renderer loads, as ``threedis doctor`` looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path

from threedis_diffusers.model_files.checks import (
    WEIGHTS_STEM,
    check_configuration,
    check_model,
    check_part,
    read_configuration,
)
from threedis_diffusers.model_files.local_source import LocalSource
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource, is_single_file
from threedis_diffusers.parts.find import needed_part, needed_parts
from threedis_diffusers.parts.place import PartPlace, folder_of, part_place
from threedis_sd.controlnets import PLAIN, find_controlnet
from threedis_sd.loading import CONTROLNET, controlnet_place, replaced_parts
from threedis_sd.options import UNetOptions


def needed_models(
    options: UNetOptions,
    model: ModelSource,
    controlnet: ModelSource,
    *,
    model_classes: Sequence[str],
    needed: Sequence[str],
    pipeline_classes: Mapping[str, str],
) -> Iterator[NeededModel]:
    """The model in the form it comes in, its ControlNet, and the parts that come from elsewhere.

    Args:
        options: The renderer's.
        model: Where the model's configuration is.
        controlnet: Where its ControlNet is if nobody names another one.
        model_classes: Pipeline classes that the model may have been saved with.
        needed: Parts without which it does not work.
        pipeline_classes: The pipeline class for each class of ControlNet.
    """
    needs = {"classes": model_classes, "needed": needed}
    pipeline = pipeline_classes[PLAIN]
    if is_single_file(options.model):
        file = Path(expanduser(options.model))
        folder = ModelSource(str(file.parent))
        yield NeededModel(folder, lambda source: source.require(file.name), "checkpoint")
        yield NeededModel(model, partial(check_configuration, **needs), pipeline=pipeline)
    else:
        check = partial(check_model, **needs, replaced=replaced_parts(options))
        yield NeededModel(model, check, pipeline=pipeline)
    fit = partial(_check_controlnet, model, tuple(pipeline_classes))
    yield from _needed_controlnet(
        controlnet_place(options, controlnet), controlnet, fit, CONTROLNET
    )
    for number, one in enumerate(options.more_controlnets, 2):
        name, fit = f"{CONTROLNET} {number}", partial(_check_controlnet, model, (PLAIN,))
        yield from _needed_controlnet(part_place(one.model), controlnet, fit, name)
        image = Path(expanduser(one.image)).absolute()
        yield NeededModel(
            ModelSource(str(image.parent)), partial(_require, image.name), f"{name} picture"
        )
    yield from needed_parts(options, apart=(CONTROLNET,))


def _needed_controlnet(
    place: PartPlace, own: ModelSource, fit: Callable[[ModelSource], object], name: str
) -> Iterator[NeededModel]:
    """A ControlNet under ``name``, with the files that describe it if it is one file."""
    if place.file:
        yield NeededModel(own, partial(read_configuration, file="config.json"), name)
        yield replace(needed_part(place, CONTROLNET), part=name)
    else:
        yield NeededModel(place.source, fit, name)


def _require(file: str, source: ModelSource) -> None:
    source.require(file)


def _check_controlnet(model: ModelSource, kinds: Sequence[str], source: ModelSource) -> None:
    """See that the ControlNet's files are there, and that it fits the U-Net if that one's are."""
    source = folder_of(source, CONTROLNET)
    check_part(source, "", WEIGHTS_STEM)
    if unet := LocalSource(model.name, model.subfolder).read("unet/config.json"):
        find_controlnet(PartPlace(source), source, unet, kinds)
