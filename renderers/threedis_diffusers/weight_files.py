"""Files of weights: safetensors, or a torch pickle that holds tensors and nothing else."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threedis_core.errors import WeightsError
from threedis_core.files.atomic import write_atomically
from threedis_core.version import __version__

if TYPE_CHECKING:  # a config names such files before anything needs torch
    from torch import Tensor

SAFETENSORS = ".safetensors"
PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors in ``file``, by name, on the CPU.

    A torch pickle is read with ``weights_only=True``, so that no code in it can run. Weights that
    lie under one key ``state_dict`` are found there.

    Raises:
        WeightsError: It is missing, damaged, of another kind, or holds more than tensors.
    """
    from torch import Tensor

    if not file.is_file():
        raise WeightsError(
            f"weights file '{file}' is not there; name a file that is",
            code="weights-not-found",
            file=file,
            hint="name a file that is there",
        )
    if file.suffix not in (SAFETENSORS, *PICKLES):
        raise WeightsError(
            f"weights file '{file}' ends with '{file.suffix}'; expected one of "
            f"{', '.join((SAFETENSORS, *PICKLES))}",
            file=file,
        )
    content = _read_safetensors(file) if file.suffix == SAFETENSORS else _read_pickle(file)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) and _is_plain(value)
        for name, value in content.items()
    ):
        raise WeightsError(
            f"weights file '{file}' holds no table of tensors by name, or sparse, quantised or "
            "empty ones; get another file",
            file=file,
            hint="get another file",
        )
    return dict(content)


def read_header(file: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file.

    Raises:
        WeightsError: It cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"weights file '{file}' is damaged ({error}); get it again",
            file=file,
            hint="get it again",
        ) from error


def save_weights(weights: Mapping[str, Tensor], file: Path, header: Mapping[str, str]) -> None:
    """Write safetensors, complete or not at all; the header also says the version of ThreeDIS.

    Raises:
        OSError: The file cannot be written.
    """
    from safetensors.torch import save

    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    write_atomically(file, save(plain, {"threedis": __version__, **header}))


def _is_plain(tensor: Tensor) -> bool:
    """True for numbers in rows: neither sparse nor quantised, nor a shape without numbers."""
    import torch

    return tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"weights file '{file}' is damaged ({error}); get it again",
            file=file,
            hint="get it again",
        ) from error


def _read_pickle(file: Path) -> Any:
    import torch

    try:
        # Only torch's newer format, a zip file, can be mapped instead of read as a whole.
        mapped = zipfile.is_zipfile(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch's reader raises almost anything on a damaged file
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise WeightsError(
            f"weights file '{file}' cannot be read as tensors only ({reason}); a torch pickle with "
            "anything else in it is never read: get the file again, or convert it where you "
            "trust it",
            file=file,
            hint="get the file again, or convert it where you trust it",
        ) from error
