"""Where a model, its ControlNet and its VAE lie, what their files tell, and how all are loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from typing import Any

import torch

from threedis_core.errors import WeightsError
from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.loading import (
    PipelinePart,
    compile_blocks,
    load_loras,
    load_pipeline,
    place,
)
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.model_files.checks import (
    WEIGHTS_STEM,
    check_model,
    check_weights,
    read_configuration,
)
from threedis_diffusers.model_files.single_file import SingleFile
from threedis_diffusers.model_files.sources import ModelSource, is_single_file
from threedis_sd.options import UNetOptions

VAE_CLASS = "AutoencoderKL"


@dataclass(frozen=True, eq=False)
class CheckedPipeline:
    """A pipeline all of whose files were found and checked, and none of whose weights is loaded.

    Args:
        options: The renderer's.
        pipeline_class: Its class in diffusers.
        load_model: What loads it; see ``find_model``.
        parts: What comes from elsewhere: its ControlNet, and its VAE if it has another one.
        scheduler: The scheduler, ready to use.
        loras: Where each LoRA of the options is.
        device: Where it will run.
        dtype: The number format of its weights.
    """

    options: UNetOptions
    pipeline_class: Any
    load_model: Callable[..., Any]
    parts: Mapping[str, PipelinePart]
    scheduler: Any
    loras: Sequence[LoRAFile]
    device: torch.device
    dtype: torch.dtype

    def load(self) -> LoadedPipeline:
        """Load the model, its parts and its LoRAs, and put them where they run.

        Raises:
            WeightsError: A file is damaged, or does not fit the model.
        """
        parts = {name: part.load(self.dtype) for name, part in self.parts.items()}
        pipeline = self.load_model(self.pipeline_class, self.dtype, **parts)
        pipeline.scheduler = self.scheduler
        load_loras(pipeline, self.options.loras, self.loras)
        place(pipeline, self.options, self.device)
        if self.options.compile:
            compile_blocks(pipeline.unet)
            compile_blocks(pipeline.controlnet)
        return LoadedPipeline(pipeline, self.device, self.dtype)


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


def controlnet_source(options: UNetOptions, model: ModelSource, default: str) -> ModelSource:
    """Where the ControlNet is, by default inside the model's folder if there is one."""
    if options.controlnet is not None:
        return ModelSource(options.controlnet)
    if model.is_local and (model.path / "controlnet").is_dir():
        return ModelSource(model.name, "controlnet")
    return ModelSource(default)


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
    return () if options.vae is None else ("vae",)


def find_vae(source: ModelSource, unet: Mapping[str, Any]) -> PipelinePart:
    """See that a VAE that is to replace the model's own is there and fits.

    Args:
        source: Where it should be.
        unet: The U-Net's configuration.
    Raises:
        WeightsError: A file is missing or unreadable, or it is of another kind.
    """
    config = read_configuration(source, "config.json")
    kind, channels = config.get("_class_name"), config.get("latent_channels")
    if kind != VAE_CLASS or channels != unet.get("in_channels"):
        raise WeightsError(
            f"VAE '{source.name}' is a {kind!r} of {channels} latent channels, but the model needs "
            f"an {VAE_CLASS!r} of {unet.get('in_channels')}; name a VAE made for this model"
        )
    return PipelinePart(source, VAE_CLASS, check_weights(source, "", WEIGHTS_STEM))
