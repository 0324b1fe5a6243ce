"""See that the options of ``flux`` and every file of its model will do, before any is loaded."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.devices import prefers_half
from threedis_diffusers.loras import find_loras
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_flux.loading import CheckedFlux
from threedis_flux.options import BASE_MODEL, DEPTH_MODEL, FluxOptions
from threedis_flux.quantization import find_quantization

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
PART_LIBRARIES = {
    "transformer": "diffusers",
    "vae": "diffusers",
    "text_encoder": "transformers",
    "text_encoder_2": "transformers",
}
"""The parts that can be quantised, and the library that does it."""
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
    loras = options.loras if options.depth_lora is None else (options.depth_lora, *options.loras)
    quantization = None
    if options.quantization is not None:
        quantization = find_quantization(options.quantization, PART_LIBRARIES)
    return CheckedFlux(
        options,
        endings,
        loras,
        find_loras(loras),
        quantization,
        device,
        dtype,
    )


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
    """See that the model's files are there and that depth has a way in.

    That is as channels of the model, or by the LoRA that adds them.

    Returns:
        The ending of each part's weights file.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    endings = check_model(model, CLASSES, NEEDED)
    transformer = model.read("transformer/config.json")
    if not transformer:  # where it is only looked for
        return endings
    inputs, outputs = transformer.get("in_channels"), transformer.get("out_channels")
    takes_depth = isinstance(outputs, int) and inputs == 2 * outputs
    if takes_depth and options.depth_lora is not None:
        raise WeightsError(
            f"'{options.model}' takes depth already, but depth_lora is set; name a base model "
            f"like {BASE_MODEL}, or leave depth_lora out"
        )
    if not takes_depth and options.depth_lora is None:
        raise WeightsError(
            f"'{options.model}' has no channels for depth (in_channels {inputs}); name a model "
            f"like {DEPTH_MODEL}, or set depth_lora"
        )
    return endings
