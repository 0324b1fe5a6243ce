"""What a Stable Diffusion renderer loads, as ``threedis doctor`` looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threedis_diffusers.checks import check_configuration, check_model, check_part
from threedis_diffusers.local_source import LocalSource
from threedis_diffusers.requirements import Wanted
from threedis_diffusers.sources import Source, is_single_file
from threedis_sd.controlnets import PLAIN, WEIGHTS, find_controlnet
from threedis_sd.loading import find_vae, replaced_parts

if TYPE_CHECKING:
    from threedis_sd.backend import UNetRenderer

Fit = Callable[[Source, Mapping[str, Any]], object]


def wanted_models(renderer: UNetRenderer) -> Iterator[Wanted]:
    """The model in the form it comes in, its ControlNet, and its VAE if it has another one."""
    options, model = renderer.options, renderer.model_source()
    needs = {"classes": renderer.model_classes, "needed": renderer.needed}
    pipeline = renderer.pipeline_classes[PLAIN]
    if is_single_file(options.model):
        file = Path(options.model).expanduser()
        folder = Source(str(file.parent))
        yield Wanted(folder, lambda source: source.require(file.name), "checkpoint")
        yield Wanted(model, partial(check_configuration, **needs), pipeline=pipeline)
    else:
        check = partial(check_model, **needs, replaced=replaced_parts(options))
        yield Wanted(model, check, pipeline=pipeline)
    kinds = tuple(renderer.pipeline_classes)
    controlnet = partial(_check, model, partial(find_controlnet, kinds=kinds))
    yield Wanted(renderer.controlnet_source(), controlnet, "controlnet")
    if options.vae is not None:
        yield Wanted(Source(options.vae), partial(_check, model, find_vae), "vae")


def _check(model: Source, fit: Fit, source: Source) -> None:
    """See that a part's files are there, and that it fits the U-Net if that one's are there."""
    check_part(source, "", WEIGHTS)
    if unet := LocalSource(model.name, model.subfolder).read("unet/config.json"):
        fit(source, unet)
