"""Find and check every file of ``ldm3d``, then load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from threedis_core.errors import WeightsError
from threedis_diffusers.devices import compile_blocks, place, resolve_device, resolve_dtype
from threedis_diffusers.loading import load_pipeline, readable
from threedis_diffusers.loras import LoRAFile, find_loras, load_loras
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.unet.schedulers import find_scheduler
from threedis_diffusers.weight_files import PICKLES, SAFETENSORS, check_weights, read_weights
from threedis_ldm3d.checkpoint import load_adapter
from threedis_ldm3d.layout_adapter import LayoutAdapter
from threedis_ldm3d.options import LDM3DOptions

CLASSES = ("StableDiffusionLDM3DPipeline", "StableDiffusionPipeline")
NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
UNET_STEM = "unet_0901"
ADAPTER_STEM = "layout_adapter"
"""What the published files are called, without their endings."""
DEPTH_CHANNELS = (1, 4)
"""Channels of a VAE's pictures of which the last is depth: depth alone, or after red green blue."""


@dataclass(frozen=True, eq=False)
class LoadedDepthPipeline:
    """The loaded model and where it runs.

    Args:
        pipeline: A stock ``StableDiffusionPipeline`` whose VAE has depth for its last channel.
        adapter: The layout adapter, if there is one.
        device: Where both are.
    """

    pipeline: Any
    adapter: LayoutAdapter | None
    device: torch.device


@dataclass(frozen=True, eq=False)
class CheckedDepthModel:
    """A depth model all of whose files were found, and none of whose weights is loaded.

    Args:
        options: The depth model's.
        model: Where the pipeline is.
        endings: The ending of each part's weights file.
        unet_file: Weights for the U-Net in place of the model's own, if there are any.
        adapter_file: The layout adapter's weights, if there is one.
        loras: Where each LoRA of the options is.
        scheduler: The scheduler, ready to use.
        device: Where it will run.
        dtype: The number format of its weights.
    """

    options: LDM3DOptions
    model: ModelSource
    endings: Mapping[str, str]
    unet_file: Path | None
    adapter_file: Path | None
    loras: Sequence[LoRAFile]
    scheduler: Any
    device: torch.device
    dtype: torch.dtype

    def load(self) -> LoadedDepthPipeline:
        """Compare the two files of weights with the U-Net, then load everything.

        Raises:
            WeightsError: A file is damaged or does not fit.
        """
        import diffusers

        options = self.options
        hollow = _hollow_unet(self.model, self.model.read("unet/config.json"))
        adapter = None if self.adapter_file is None else load_adapter(self.adapter_file, hollow)
        weights = None if self.unet_file is None else _unet_weights(self.unet_file, hollow)
        kind = diffusers.StableDiffusionPipeline
        pipeline = load_pipeline(kind, self.model, self.endings, self.dtype)
        pipeline.scheduler = self.scheduler
        if weights is not None:
            pipeline.unet.load_state_dict(weights)
        load_loras(pipeline, options.loras, self.loras)
        place(pipeline, options, self.device)
        if adapter is not None:
            adapter.to(self.device, self.dtype)
        if options.compile:
            compile_blocks(pipeline.unet)
        return LoadedDepthPipeline(pipeline, adapter, self.device)


def find_model(options: LDM3DOptions) -> CheckedDepthModel:
    """Check options and files; loads no weights.

    Raises:
        OptionError: An option that this machine cannot serve.
        WeightsError: A file is missing, damaged or of another kind.
    """
    device = resolve_device(options)
    dtype = resolve_dtype(options, device)
    model = ModelSource(options.model)
    endings = check_model(model, CLASSES, NEEDED)
    _check_vae(model)
    return CheckedDepthModel(
        options,
        model,
        endings,
        unet_file=find_weights(options.unet, UNET_STEM),
        adapter_file=find_weights(options.adapter, ADAPTER_STEM),
        loras=find_loras(options.loras),
        scheduler=find_scheduler(options.scheduler, model),
        device=device,
        dtype=dtype,
    )


def load_model(options: LDM3DOptions) -> LoadedDepthPipeline:
    """Check options and files, then load the model.

    Raises:
        OptionError: An option that this machine cannot serve.
        WeightsError: A file is missing, damaged or does not fit.
    """
    return find_model(options).load()


def find_weights(name: str | None, stem: str) -> Path | None:
    """The file that ``name`` means: itself, or ``stem`` in a folder or repository.

    What lies on this machine comes first, so that it needs no network.

    Raises:
        WeightsError: There is none.
    """
    if name is None:
        return None
    path = Path(name).expanduser()
    if path.suffix in (SAFETENSORS, *PICKLES) and not path.is_dir():
        if not path.is_file():
            raise WeightsError(f"weights file '{name}' is not there; name a file that is")
        return path
    source = ModelSource(name)
    for ending in (SAFETENSORS, PICKLES[0]):
        if found := source.on_this_machine(stem + ending):
            return found
    for ending in (PICKLES[0], SAFETENSORS):
        if source.has(stem + ending):
            return source.get(stem + ending)
    raise WeightsError(
        f"'{name}' has neither '{stem}{PICKLES[0]}' nor '{stem}{SAFETENSORS}'; name a file, or a "
        "folder or repository with one of these"
    )


def _check_vae(model: ModelSource) -> None:
    channels = model.read("vae/config.json").get("out_channels")
    if channels not in DEPTH_CHANNELS:
        raise WeightsError(
            f"the VAE of '{model.name}' makes pictures of {channels} channels; expected 4 (red, "
            "green, blue, depth) or 1 (depth): name a text-to-depth model such as Intel/ldm3d-4c"
        )


def _hollow_unet(model: ModelSource, facts: Mapping[str, Any]) -> Any:
    """The U-Net without its numbers, to compare weights with."""
    import diffusers

    with readable(model), quiet(), torch.device("meta"):
        return diffusers.UNet2DConditionModel.from_config(dict(facts))


def _unet_weights(file: Path, unet: Any) -> dict[str, Tensor]:
    weights = read_weights(file)
    shapes = {name: tuple(weight.shape) for name, weight in unet.state_dict().items()}
    check_weights(weights, shapes, f"U-Net file '{file}'")
    return weights
