"""Find LoRAs before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.model_files.sources import HUB_ID, ModelSource, NotFetchedError
from threedis_diffusers.options import LoRA

USUAL_FILE = "pytorch_lora_weights.safetensors"
"""The name diffusers saves a LoRA under."""


@dataclass(frozen=True)
class LoRAFile:
    """Where a LoRA is.

    Args:
        folder: A local folder or a hub id.
        file: The file's name inside.
    """

    folder: str
    file: str


def find_loras(loras: Sequence[LoRA]) -> list[LoRAFile]:
    """See that LoRAs can be loaded: peft is installed, and each one's file is there.

    Raises:
        OptionError: peft is not installed.
        WeightsError: A file is missing, is no safetensors file, or could be one of several.
    """
    require_peft(loras)
    return [_find(lora) for lora in loras]


def find_files(named: Mapping[str, LoRA]) -> dict[str, LoRAFile]:
    """See that files of learned weights of any kind are there, by name.

    Raises:
        WeightsError: A file is missing, is no safetensors file, or could be one of several.
    """
    return {name: _find(one) for name, one in named.items()}


def require_peft(loras: Sequence[LoRA]) -> None:
    """See that what LoRAs need is installed.

    Raises:
        OptionError: It is not.
    """
    from diffusers.utils import is_peft_available

    if loras and not is_peft_available():
        raise OptionError(
            "loras needs the package peft; install it: pip install 'threedis[lora]'",
            code="package-missing",
            path="loras",
            hint="pip install 'threedis[lora]'",
        )


def _find(lora: LoRA) -> LoRAFile:
    path = Path(expanduser(lora.path))
    if path.is_file():
        return _safetensors(str(path.parent), path.name)
    is_hub_id = HUB_ID.fullmatch(lora.path) and path.suffix != ".safetensors"
    if not path.is_dir() and not is_hub_id:
        raise WeightsError(
            f"LoRA '{lora.path}' is not there; name a .safetensors file, a local folder or a hub "
            "id like 'owner/name'",
            code="weights-not-found",
            path="loras",
            file=lora.path,
            hint="name a .safetensors file, a local folder or a hub id like 'owner/name'",
        )
    source = ModelSource(lora.path)
    folder = str(source.path) if source.is_local else source.name
    if lora.file is None:
        return LoRAFile(folder, only_file(source))
    if not source.has(lora.file):
        raise WeightsError(
            f"LoRA '{lora.path}' has no file '{lora.file}'; correct 'file', or leave it out if "
            "there is only one",
            code="weights-not-found",
            path="loras",
            file=lora.path,
            hint="correct 'file', or leave it out if there is only one",
        )
    return _safetensors(folder, lora.file)


def only_file(source: ModelSource) -> str:
    """The file of a LoRA that is named by its folder or repository alone."""
    try:
        if source.has(USUAL_FILE):
            return USUAL_FILE
        names = source.safetensors()
    except NotFetchedError:  # without a network, what was fetched once will do
        names = source.cached_safetensors()
        if len(names) != 1:
            raise
    if len(names) == 1:
        return names[0]
    if not names:
        raise WeightsError(
            f"LoRA '{source.name}' holds no .safetensors file; convert it, or name another one"
        )
    raise WeightsError(
        f"LoRA '{source.name}' holds {len(names)} .safetensors files; say which one with 'file': "
        f"{', '.join(names[:10])}"
    )


def _safetensors(folder: str, file: str) -> LoRAFile:
    if not file.endswith(".safetensors"):
        raise WeightsError(f"LoRA file '{file}' is not a .safetensors file; convert it first")
    return LoRAFile(folder, file)
