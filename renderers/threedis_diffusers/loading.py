"""Load a pipeline whose files are known to be there, and its LoRAs, and put it where it runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch

from threedis_diffusers.complete import complete
from threedis_diffusers.instance_loras.layers import Adapters
from threedis_diffusers.loras import LoRAFile
from threedis_diffusers.model_files.checks import fetch_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.own_thread import in_own_thread
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable


def load_pipeline(
    pipeline_class: Any,
    model: ModelSource,
    endings: Mapping[str, str],
    dtype: torch.dtype,
    **arguments: Any,
) -> Any:
    """Load a pipeline on the CPU, without a safety checker.

    Args:
        pipeline_class: A pipeline class of diffusers.
        model: Where the model is.
        endings: The weights files' endings by part; see ``checks.check_model``.
        dtype: Number format of the weights.
        **arguments: Passed on to ``from_pretrained``: parts that are loaded already, say.
    Raises:
        WeightsError: A file is damaged or does not fit its configuration.
    """
    folder = fetch_model(model, endings)
    with readable(model), quiet(), complete(model.name) as check:
        pipeline = pipeline_class.from_pretrained(
            folder,
            variant=variant(endings.values()),
            dtype=dtype,
            use_safetensors=True,
            **left_out(pipeline_class),
            **arguments,
        )
        check({name: part for name, part in pipeline.components.items() if name not in arguments})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def left_out(pipeline_class: Any) -> dict[str, Any]:
    """Arguments that keep parts which are not used from being loaded."""
    unused = ("safety_checker", "feature_extractor", "image_encoder")
    known = inspect.signature(pipeline_class.__init__).parameters
    arguments: dict[str, Any] = {part: None for part in unused if part in known}
    if "safety_checker" in known:
        arguments["requires_safety_checker"] = False
    return arguments


def variant(endings: Iterable[str]) -> str | None:
    """The variant that weights files with these endings are of, as diffusers names it."""
    return "fp16" if any(ending.startswith(".fp16") for ending in endings) else None


def first_of(names: Sequence[str]) -> str:
    """The first of one or more names, and how many others there are."""
    others = len(names) - 1
    return names[0] + (f" and {others} more" if others else "")


def load_loras(
    pipeline: Any,
    loras: Sequence[LoRA],
    files: Sequence[LoRAFile],
    for_instances: Mapping[str, LoRA] | None = None,
) -> Adapters | None:
    """Load LoRAs and set their weights; those for instances stay inactive.

    Args:
        pipeline: Where to.
        loras: The options.
        files: Where each LoRA is, those for instances last; see ``loras.find_loras``.
        for_instances: By name.
    Returns:
        The LoRAs for instances; None if there are none.
    Raises:
        WeightsError: A file does not fit the model, or cannot be confined to an instance.
    """
    inactive = for_instances or {}
    if not loras and not inactive:
        return None
    import_module("peft")  # so that what it does to torch stays in this thread, too
    names = [f"lora_{index}" for index in range(len(loras))]
    own = {name: f"instance_lora_{index}" for index, name in enumerate(inactive)}
    every = zip((*names, *own.values()), (*loras, *inactive.values()), files, strict=True)
    for name, lora, found in every:
        file = ModelSource(found.folder).get(found.file)
        with readable(ModelSource(lora.path)), quiet(), in_own_thread():
            pipeline.load_lora_weights(
                file.parent, weight_name=file.name, adapter_name=name, use_safetensors=True
            )
    if names:
        pipeline.set_adapters(names, [lora.weight for lora in loras])
    if not inactive:
        return None
    adapters = Adapters(own, {name: lora.weight for name, lora in inactive.items()})
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            adapters.check(part)
            for _, layer in adapters.layers(part) if not names else ():
                layer.set_adapter([])
    return adapters


def compile_blocks(model: torch.nn.Module) -> None:
    """Compile every transformer block of ``model`` in place; they share their code."""
    from diffusers.models.attention import BasicTransformerBlock

    for module in model.modules():
        if isinstance(module, BasicTransformerBlock):
            module.compile()
