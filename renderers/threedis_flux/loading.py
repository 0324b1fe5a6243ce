"""Load FLUX.1 with depth: the whole model, or the base model with its depth LoRA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.loading import load_loras, load_pipeline
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.memory.placing import place
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.find import FoundParts
from threedis_flux.options import Cache, FirstBlockCache, FluxOptions


@dataclass(frozen=True, eq=False)
class CheckedFlux:
    """A FLUX.1 all of whose files were found and checked, and none of whose weights is loaded.

    Args:
        options: The renderer's.
        endings: The ending of each part's weights file.
        loras: The LoRAs, the depth LoRA first if there is one.
        lora_files: Where each of them is, and then each one for instances.
        scheduler: The scheduler, ready to use.
        found: The parts that come from elsewhere, or are quantised.
        device: Where it will run.
        dtype: The number format of its weights.
    """

    options: FluxOptions
    endings: Mapping[str, str]
    loras: Sequence[LoRA]
    lora_files: Sequence[LoRAFile]
    scheduler: Any
    found: FoundParts
    device: torch.device
    dtype: torch.dtype

    def load(self) -> LoadedPipeline:
        """Load the model and its LoRAs, and put them where they run.

        Raises:
            WeightsError: A file is damaged, or does not fit the model.
        """
        from diffusers import FluxControlPipeline

        options = self.options
        model = ModelSource(options.model)
        given = {**self.found.load(self.dtype), **self.found.arguments}
        pipeline = load_pipeline(FluxControlPipeline, model, self.endings, self.dtype, **given)
        pipeline.scheduler = self.scheduler
        own = load_loras(pipeline, self.loras, self.lora_files, options.instance_loras)
        transformer = pipeline.transformer
        if options.fuse_qkv:
            transformer.fuse_qkv_projections()
        if options.cache is not None:
            transformer.enable_cache(cache_config(options.cache))
        self.found.keep_in_fp8(pipeline, self.dtype)
        offload = place(pipeline, options, self.device, options.default_side)
        if options.compile:
            transformer.compile_repeated_blocks()
        return LoadedPipeline(pipeline, self.device, self.dtype, offload, own)


def cache_config(cache: Cache) -> Any:
    """diffusers' configuration of a cache."""
    from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig

    if isinstance(cache, FirstBlockCache):
        return FirstBlockCacheConfig(cache.threshold)
    return TaylorSeerCacheConfig(
        cache_interval=cache.interval,
        disable_cache_before_step=cache.warmup,
        max_order=cache.order,
        taylor_factors_dtype=torch.float32,
    )
