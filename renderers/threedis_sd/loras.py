"""Load LoRAs into a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threedis_core.errors import OptionError, WeightsError
from threedis_sd.loading import readable
from threedis_sd.options import LoRA
from threedis_sd.quiet import quiet
from threedis_sd.sources import Source


def load_loras(pipeline: Any, loras: Sequence[LoRA]) -> None:
    """Load LoRAs and set their weights.

    Raises:
        OptionError: peft is not installed.
        WeightsError: A file is missing or does not fit the model.
    """
    names = [f"lora_{index}" for index in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        folder, file = lora_location(lora)
        with readable(Source(lora.path)), quiet():
            pipeline.load_lora_weights(
                folder, weight_name=file, adapter_name=name, use_safetensors=True
            )
    if loras:
        pipeline.set_adapters(names, [lora.weight for lora in loras])


def check_loras(loras: Sequence[LoRA]) -> None:
    """See that LoRAs can be loaded: peft is installed, and local files are there.

    Raises:
        OptionError: peft is not installed.
        WeightsError: A file is missing or is no safetensors file.
    """
    from diffusers.utils import is_peft_available

    if loras and not is_peft_available():
        raise OptionError("loras needs the package peft; install it: pip install 'threedis[lora]'")
    for lora in loras:
        folder, file = lora_location(lora)
        if file is not None and not file.endswith(".safetensors"):
            raise WeightsError(f"LoRA file '{file}' is not a .safetensors file; convert it first")
        source = Source(folder)
        if file is not None and not source.has(file):
            raise source.missing(file)
        if file is None and source.is_local and not any(source.path.glob("*.safetensors")):
            raise WeightsError(f"LoRA folder '{folder}' holds no .safetensors file")


def lora_location(lora: LoRA) -> tuple[str, str | None]:
    """The folder or repository of a LoRA, and its file's name if one is given."""
    path = Path(lora.path).expanduser()
    if path.suffix:
        if path.is_file():
            return str(path.parent), path.name
        if path.suffix == ".safetensors":
            raise WeightsError(f"LoRA file '{lora.path}' is not there; check the path")
    return (str(path) if path.is_dir() else lora.path), lora.file
