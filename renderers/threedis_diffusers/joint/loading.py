"""Load a pipeline with joint attention whose files were found and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from threedis_diffusers.backend import LoadedPipeline
from threedis_diffusers.joint.options import JointOptions
from threedis_diffusers.loading import load_loras, load_pipeline
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.memory.placing import place
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.find import FoundParts


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """A model all of whose files were found and checked, and none of whose weights is loaded.

    Args:
        options: The renderer's.
        pipeline_class: Its pipeline's name in diffusers.
        endings: The ending of each part's weights file.
        loras: The LoRAs that count everywhere.
        lora_files: Where each of them is, and then each one for instances.
        scheduler: The scheduler, ready to use.
        found: The parts that come from elsewhere, or are quantised.
        device: Where it will run.
        dtype: The number format of its weights.
        prepare: What else the renderer does with the pipeline before it is placed.
        absent: Parts that the pipeline does without.
    """

    options: JointOptions
    pipeline_class: str
    endings: Mapping[str, str]
    loras: Sequence[LoRA]
    lora_files: Sequence[LoRAFile]
    scheduler: Any
    found: FoundParts
    device: torch.device
    dtype: torch.dtype
    prepare: Callable[[Any], None]
    absent: Sequence[str] = ()

    def load(self) -> LoadedPipeline:
        """Load the model and its LoRAs, and put them where they run.

        Raises:
            WeightsError: A file is damaged, or does not fit the model.
        """
        import diffusers

        options, kind = self.options, getattr(diffusers, self.pipeline_class)
        given = {**self.found.load(self.dtype), **self.found.arguments}
        given |= dict.fromkeys(self.absent)
        model = ModelSource(options.model)
        pipeline = load_pipeline(kind, model, self.endings, self.dtype, **given)
        pipeline.scheduler = self.scheduler
        own = load_loras(pipeline, self.loras, self.lora_files, options.instance_loras)
        self.prepare(pipeline)
        self.found.keep_in_fp8(pipeline, self.dtype)
        offload = place(pipeline, options, self.device, options.default_side)
        for part in ("transformer", "controlnet") if options.compile else ():
            compile_blocks(getattr(pipeline, part, None))
        return LoadedPipeline(pipeline, self.device, self.dtype, offload, own)


def compile_blocks(model: Any) -> None:
    """Compile every transformer block of ``model`` in place; those of one kind share their code."""
    for name, part in [] if model is None else model.named_children():
        for block in part if name.endswith("transformer_blocks") else ():
            block.compile()
