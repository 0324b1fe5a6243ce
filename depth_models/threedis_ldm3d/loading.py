"""Load ``ldm3d``, all of whose files were found and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from threedis_diffusers.loading import compile_blocks, load_loras, load_pipeline
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.memory.placing import place
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable
from threedis_diffusers.weight_files import read_weights
from threedis_diffusers.weight_shapes import check_weights
from threedis_ldm3d.checkpoint import load_adapter
from threedis_ldm3d.layout_adapter import LayoutAdapter
from threedis_ldm3d.options import LDM3DOptions

USUAL_SIDE = 512


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
        endings: The ending of the weights file of each part that is loaded from there.
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
        parts = {}
        if self.unet_file is not None:  # the model's own is not even read
            weights = _unet_weights(self.unet_file, hollow)
            # Copied, one by one, so that nothing hangs on the file.
            own = {name: one.to(self.dtype, copy=True) for name, one in weights.items()}
            hollow.load_state_dict(own, assign=True)
            parts["unet"] = hollow.eval()
        kind = diffusers.StableDiffusionPipeline
        pipeline = load_pipeline(kind, self.model, self.endings, self.dtype, **parts)
        pipeline.scheduler = self.scheduler
        load_loras(pipeline, options.loras, self.loras)
        place(pipeline, options, self.device, options.side or USUAL_SIDE)
        if adapter is not None:
            adapter.to(self.device, self.dtype)
        if options.compile:
            compile_blocks(pipeline.unet)
        return LoadedDepthPipeline(pipeline, adapter, self.device)


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
