"""What a Stable Diffusion renderer loads, as ``threedis doctor`` looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from typing import Any

from threedis_diffusers.model_files.checks import (
    WEIGHTS_STEM,
    check_configuration,
    check_model,
    check_part,
)
from threedis_diffusers.model_files.local_source import LocalSource
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource, is_single_file
from threedis_sd.controlnets import PLAIN, find_controlnet
from threedis_sd.loading import find_vae, replaced_parts
from threedis_sd.options import UNetOptions

Fit = Callable[[ModelSource, Mapping[str, Any]], object]


def needed_models(
    options: UNetOptions,
    model: ModelSource,
    controlnet: ModelSource,
    *,
    model_classes: Sequence[str],
    needed: Sequence[str],
    pipeline_classes: Mapping[str, str],
) -> Iterator[NeededModel]:
    """The model in the form it comes in, its ControlNet, and its VAE if it has another one.

    Args:
        options: The renderer's.
        model: Where the model's configuration is.
        controlnet: Where its ControlNet is.
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
    kinds = tuple(pipeline_classes)
    check_controlnet = partial(_check, model, partial(find_controlnet, kinds=kinds))
    yield NeededModel(controlnet, check_controlnet, "controlnet")
    if options.vae is not None:
        yield NeededModel(ModelSource(options.vae), partial(_check, model, find_vae), "vae")


def _check(model: ModelSource, fit: Fit, source: ModelSource) -> None:
    """See that a part's files are there, and that it fits the U-Net if that one's are there."""
    check_part(source, "", WEIGHTS_STEM)
    if unet := LocalSource(model.name, model.subfolder).read("unet/config.json"):
        fit(source, unet)
