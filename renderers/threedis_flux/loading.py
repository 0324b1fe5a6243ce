"""Check and load FLUX.1 with depth: the whole model, or the base model with its depth LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.loading import load_pipeline
from threedis_diffusers.loras import find_loras, load_loras
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.sources import ModelSource
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


def load_flux(options: FluxOptions, dtype: torch.dtype) -> Any:
    """Check that every file is there, then load the pipeline on the CPU.

    Raises:
        OptionError: An option that cannot be served here.
        WeightsError: The model is missing, unreadable or of another kind.
    """
    from diffusers import FirstBlockCacheConfig, FluxControlPipeline

    model = ModelSource(options.model)
    endings = check_files(options, model)
    loras = options.loras if options.depth_lora is None else (options.depth_lora, *options.loras)
    lora_files = find_loras(loras)
    arguments = {} if options.quantization is None else {"quantization_config": _quantized(options)}
    try:
        pipeline = load_pipeline(FluxControlPipeline, model, endings, dtype, **arguments)
    except ImportError as error:  # diffusers asks for a quantisation's package only here
        if options.quantization is None:
            raise
        raise OptionError(
            f"quantization needs a package that is not installed ({error}); install it, or leave "
            "quantization out"
        ) from error
    load_loras(pipeline, loras, lora_files)
    if options.fuse_qkv:
        pipeline.transformer.fuse_qkv_projections()
    if options.cache is not None:
        pipeline.transformer.enable_cache(FirstBlockCacheConfig(options.cache.threshold))
    return pipeline


def check_files(options: FluxOptions, model: ModelSource) -> dict[str, str]:
    """See that the model's files are there and that depth has a way in.

    Returns:
        The ending of each part's weights file.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    endings = check_model(model, CLASSES, NEEDED)
    if transformer := model.read("transformer/config.json"):  # nothing where it is only looked for
        _check_depth(options, transformer)
    return endings


def _check_depth(options: FluxOptions, transformer: Mapping[str, Any]) -> None:
    """See that depth has a way in: as channels of the model, or by the LoRA that adds them."""
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


def _quantized(options: FluxOptions) -> Any:
    from diffusers import PipelineQuantizationConfig

    try:
        return PipelineQuantizationConfig(**(options.quantization or {}))
    except (ImportError, TypeError, ValueError) as error:
        raise OptionError(
            f"quantization cannot be used: {' '.join(str(error).split())}; see diffusers' "
            "PipelineQuantizationConfig for its keys"
        ) from error
