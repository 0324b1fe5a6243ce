"""See that the options of ``ldm3d`` and every file of its model will do, before any is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from threedis_core.errors import WeightsError
from threedis_diffusers.devices import prefers_half, resolve_device, resolve_dtype
from threedis_diffusers.loras import find_loras, require_peft
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.requirements import NeededModel, needed_lora
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.schedulers import find_scheduler
from threedis_diffusers.weight_files import PICKLES, SAFETENSORS
from threedis_ldm3d.loading import CheckedDepthModel
from threedis_ldm3d.options import LDM3DOptions

CLASSES = ("StableDiffusionLDM3DPipeline", "StableDiffusionPipeline")
NEEDED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
UNET_STEM = "unet_0901"
ADAPTER_STEM = "layout_adapter"
"""What the published files are called, without their endings."""
DEPTH_CHANNELS = (1, 4)
"""Channels of a VAE's pictures of which the last is depth: depth alone, or after red green blue."""


def find_model(options: LDM3DOptions) -> CheckedDepthModel:
    """Check options and files; loads no weights.

    Raises:
        OptionError: An option that this machine cannot serve.
        WeightsError: A file is missing, damaged or of another kind.
    """
    device = resolve_device(options)
    dtype = resolve_dtype(options, device)
    model = ModelSource(options.model, half=prefers_half(options, dtype))
    replaced = () if options.unet is None else ("unet",)
    endings = check_model(model, CLASSES, NEEDED, replaced)
    _check_vae(model)
    return CheckedDepthModel(
        options,
        model,
        endings,
        unet_file=find_weights(options.unet, UNET_STEM),
        adapter_file=find_weights(options.adapter, ADAPTER_STEM),
        loras=find_loras(options.loras),
        scheduler=find_scheduler(
            options.scheduler, model, lambda made: made.set_timesteps(options.steps)
        ),
        device=device,
        dtype=dtype,
    )


def needed_models(options: LDM3DOptions) -> Iterator[NeededModel]:
    """The pipeline, the U-Net's weights, the adapter and the LoRAs, for ``inspect``."""
    replaced = () if options.unet is None else ("unet",)
    check = partial(check_model, classes=CLASSES, needed=NEEDED, replaced=replaced)
    yield NeededModel(ModelSource(options.model), check, pipeline="StableDiffusionPipeline")
    for name, stem, part in (
        (options.unet, UNET_STEM, "unet"),
        (options.adapter, ADAPTER_STEM, "adapter"),
    ):
        if name is not None:
            yield _needed_weights(name, stem, part)
    require_peft(options.loras)
    for number, lora in enumerate(options.loras, 1):
        yield needed_lora(lora, f"lora {number}")


def _needed_weights(name: str, stem: str, part: str) -> NeededModel:
    """The weights that ``find_weights`` finds, as something needed."""
    path = Path(name).expanduser()
    if path.suffix in (SAFETENSORS, *PICKLES) and not path.is_dir():
        folder = ModelSource(str(path.parent))
        return NeededModel(folder, lambda source: source.require(path.name), part)

    def look(source: ModelSource) -> None:
        if not source.has(stem + SAFETENSORS):
            source.require(stem + PICKLES[0])

    return NeededModel(ModelSource(name), look, part)


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
            raise WeightsError(
                f"weights file '{name}' is not there; name a file that is",
                code="weights-not-found",
                file=name,
                hint="name a file that is there",
            )
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
        "folder or repository with one of these",
        code="weights-not-found",
        file=name,
    )


def _check_vae(model: ModelSource) -> None:
    channels = model.read("vae/config.json").get("out_channels")
    if channels not in DEPTH_CHANNELS:
        raise WeightsError(
            f"the VAE of '{model.name}' makes pictures of {channels} channels; expected 4 (red, "
            "green, blue, depth) or 1 (depth): name a text-to-depth model such as Intel/ldm3d-4c"
        )
