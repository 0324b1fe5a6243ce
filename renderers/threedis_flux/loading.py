"""Check and load FLUX.1 with depth: the whole model, or the base model with its depth LoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.devices import place, resolve_device, resolve_dtype
from threedis_diffusers.loading import load_pipeline
from threedis_diffusers.loras import LoRAFile, find_loras, load_loras
from threedis_diffusers.model_files.checks import check_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
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


@dataclass(frozen=True, eq=False)
class CheckedFlux:
    """A FLUX.1 all of whose files were found and checked, and none of whose weights is loaded.

    Args:
        options: The renderer's.
        endings: The ending of each part's weights file.
        loras: The LoRAs, the depth LoRA first if there is one.
        lora_files: Where each of them is.
        quantization: diffusers' ``PipelineQuantizationConfig``; None: as the weights are.
        device: Where it will run.
        dtype: The number format of its weights.
    """

    options: FluxOptions
    endings: Mapping[str, str]
    loras: Sequence[LoRA]
    lora_files: Sequence[LoRAFile]
    quantization: Any
    device: torch.device
    dtype: torch.dtype

    def load(self) -> LoadedPipeline:
        """Load the model and its LoRAs, and put them where they run.

        Raises:
            WeightsError: A file is damaged, or does not fit the model.
        """
        from diffusers import FirstBlockCacheConfig, FluxControlPipeline

        options = self.options
        extra = {} if self.quantization is None else {"quantization_config": self.quantization}
        model = ModelSource(options.model)
        pipeline = load_pipeline(FluxControlPipeline, model, self.endings, self.dtype, **extra)
        load_loras(pipeline, self.loras, self.lora_files)
        transformer = pipeline.transformer
        if options.fuse_qkv:
            transformer.fuse_qkv_projections()
        if options.cache is not None:
            transformer.enable_cache(FirstBlockCacheConfig(options.cache.threshold))
        place(pipeline, options, self.device)
        if options.compile:
            transformer.compile_repeated_blocks()
        return LoadedPipeline(pipeline, self.device, self.dtype)


def find_flux(options: FluxOptions, accelerated: torch.dtype) -> CheckedFlux:
    """Check the options and every file of the model and its LoRAs; loads no weights.

    Args:
        options: The renderer's.
        accelerated: The number format that dtype=auto means on an accelerator.
    Raises:
        OptionError: An option that cannot be served here.
        WeightsError: The model is missing, unreadable or of another kind.
    """
    device = resolve_device(options)
    dtype = resolve_dtype(options, device, accelerated)
    check_lowering(options, device)
    endings = check_files(options, ModelSource(options.model))
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
