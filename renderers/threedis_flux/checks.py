"""See that the options of ``flux`` and every file of its model will do, before any is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from numpy import linspace

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.devices import prefers_half
from threedis_diffusers.loras import find_loras
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.find import FoundParts, find_parts
from threedis_diffusers.schedulers import FLOW_SCHEDULERS, find_scheduler
from threedis_flux.loading import CheckedFlux
from threedis_flux.options import BASE_MODEL, DEPTH_MODEL, FluxOptions

CLASSES = ("FluxControlPipeline", "FluxPipeline")
NEEDED = (
    "transformer",
    "vae",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "scheduler",
)
GROWS = "x_embedder"
"""The layer that a depth LoRA makes larger, which only plain weights can be."""
FITS = {
    "text_encoder": ("hidden_size", "pooled_projection_dim"),
    "text_encoder_2": ("d_model", "joint_attention_dim"),
}
"""What of a text encoder's configuration is the same as what of the transformer's."""
LOWERINGS = {"flex": "block_mask"}
"""Which way to carry out the plan an attention backend implies."""


def find_flux(options: FluxOptions, device: torch.device, dtype: torch.dtype) -> CheckedFlux:
    """Check the options and every file of the model and its LoRAs; loads no weights.

    Args:
        options: The renderer's.
        device: Where it will run.
        dtype: The number format of its weights.
    Raises:
        OptionError: An option that cannot be served here.
        WeightsError: The model is missing, unreadable or of another kind.
    """
    check_lowering(options, device)
    model = ModelSource(options.model, half=prefers_half(options, dtype))
    endings = check_files(options, model)
    keep = {} if options.depth_lora is None else {"transformer": (GROWS,)}
    found = find_parts(options, model, dtype, keep=keep)
    check_parts(options, found, model)
    check_loras(options)
    loras = options.loras if options.depth_lora is None else (options.depth_lora, *options.loras)
    return CheckedFlux(
        options,
        endings,
        loras,
        find_loras([*loras, *options.instance_loras.values()]),
        find_scheduler(
            options.scheduler,
            model,
            partial(_start, steps=options.steps),
            FLOW_SCHEDULERS,
            "FLUX.1",
        ),
        found,
        device,
        dtype,
    )


def _start(scheduler: Any, steps: int) -> None:
    """Make a scheduler ready as FLUX's pipelines do."""
    scheduler.set_timesteps(sigmas=linspace(1, 1 / steps, steps), mu=1.0)


def check_lowering(options: FluxOptions, device: torch.device) -> None:
    """See that this machine has what the chosen way to carry out the plan needs.

    Raises:
        OptionError: A block mask on CUDA, and no compiler for it.
    """
    chosen = "block_mask" in (options.attention, LOWERINGS.get(options.attention_backend))
    if chosen and device.type == "cuda" and find_spec("triton") is None:
        raise OptionError(
            "attention=block_mask needs the package triton on CUDA, which is not installed; "
            "install it, or use attention=dense"
        )


def check_files(options: FluxOptions, model: ModelSource) -> dict[str, str]:
    """See that the model's own files are there and that depth has a way in.

    Returns:
        The ending of each part's weights file.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    endings = check_model(model, CLASSES, NEEDED, options.replaced)
    transformer = model.read("transformer/config.json")
    if transformer and "transformer" not in options.replaced:
        check_depth(options, options.model, transformer)
    return endings


def check_parts(options: FluxOptions, found: FoundParts, model: ModelSource) -> None:
    """See that what comes from elsewhere fits together, and what is wanted of it is possible.

    Raises:
        OptionError: Projections of packed weights are to be joined.
        WeightsError: A text encoder is not of the transformer's kind, or depth has no way in.
    """
    if not found.parts:
        return
    transformer = found.configuration("transformer", model)
    if "transformer" in found.parts:
        check_depth(options, options.transformer or "", transformer)
    if options.fuse_qkv and "transformer" in found.packed:
        raise OptionError(
            f"fuse_qkv joins plain weights, but those of '{options.transformer}' are quantised; "
            "set fuse_qkv=false",
            path="fuse_qkv",
            hint="set fuse_qkv=false",
        )
    for part, (own, wanted) in FITS.items():
        width, needed = found.configuration(part, model).get(own), transformer.get(wanted)
        if width != needed:
            raise WeightsError(
                f"the {part} has {own} {width}, but the transformer has {wanted} {needed}; name "
                "parts of the same kind of model",
                path=part,
                hint="name parts of the same kind of model",
            )


def check_loras(options: FluxOptions) -> None:
    """See that LoRAs can be loaded into the transformer as it will be stored.

    Raises:
        OptionError: They cannot: diffusers looks for weights by names that quanto changes.
    """
    wanted = options.wanted.get("transformer")
    if wanted is not None and wanted.backend == "quanto" and (options.loras or options.depth_lora):
        raise OptionError(
            "quantization of the transformer by quanto takes no LoRAs; use int8 (torchao), fp8, "
            "nf4 or a GGUF file, or leave the LoRAs out",
            path="quantization",
            hint="use int8, fp8, nf4 or a GGUF file, or leave the LoRAs out",
        )


def check_depth(options: FluxOptions, name: str, transformer: Mapping[str, Any]) -> None:
    """See that depth has a way in: as channels of the model, or by the LoRA that adds them.

    Args:
        options: The renderer's.
        name: Where the transformer is.
        transformer: Its configuration.
    Raises:
        WeightsError: It has none, or two.
    """
    inputs, outputs = transformer.get("in_channels"), transformer.get("out_channels")
    takes_depth = isinstance(outputs, int) and inputs == 2 * outputs
    if takes_depth and options.depth_lora is not None:
        raise WeightsError(
            f"'{name}' takes depth already, but depth_lora is set; name a base model "
            f"like {BASE_MODEL}, or leave depth_lora out"
        )
    if not takes_depth and options.depth_lora is None:
        raise WeightsError(
            f"'{name}' has no channels for depth (in_channels {inputs}); name a model "
            f"like {DEPTH_MODEL}, or set depth_lora"
        )
