"""What one file of weights holds, from its header: names, shapes, formats, bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from threedis_core.errors import WeightsError
from threedis_diffusers.parts.place import GGUF_ENDING
from threedis_diffusers.quantized.configs import require_package
from threedis_diffusers.quantized.wanted import GGUF

SCALES = ("scale_weight", "scaled_fp8", "weight_scale", "comfy_quant")
"""Ends of names of what weights have to be multiplied with, in files of other programs."""


@dataclass(frozen=True)
class Header:
    """What a file of weights holds.

    Args:
        shapes: The shape of each weight by its name, unpacked.
        formats: How many numbers are stored in each format, by the format's name.
        size: Bytes of all weights as they are stored.
        kind: What a GGUF file says that it is of: "flux", "t5encoder"; "" for another file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    formats: Mapping[str, int]
    size: int
    kind: str = ""

    @property
    def scales(self) -> list[str]:
        """The names of scales beside the weights."""
        return [name for name in self.shapes if name.endswith(SCALES)]

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self.formats.values())

    @property
    def packed(self) -> bool:
        """True if most of them are stored in fewer than 16 bits."""
        return self.main_format.startswith("F8_") or (
            bool(self.kind) and self.main_format not in ("F32", "F16", "BF16")
        )

    @property
    def main_format(self) -> str:
        """The format that most numbers are stored in: "F8_E4M3", "Q8_0"."""
        return max(self.formats, key=lambda name: self.formats[name], default="")


def read_header(path: Path) -> Header:
    """Read the header of a safetensors or GGUF file; none of its numbers.

    Raises:
        WeightsError: It is damaged, or of another kind.
        OptionError: It is a GGUF file, and the package that reads it is not installed.
    """
    if path.name.endswith(GGUF_ENDING):
        return _read_gguf(path)
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    formats: Counter[str] = Counter()
    try:
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118  it is no mapping
                part = file.get_slice(name)
                shapes[name] = tuple(part.get_shape())
                formats[part.get_dtype()] += prod(shapes[name])
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    return Header(shapes, formats, path.stat().st_size)


def _read_gguf(path: Path) -> Header:
    require_package(GGUF, f"'{path}'")
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        field = reader.get_field("general.architecture")
        kind = str(field.contents()) if field is not None else ""
        # GGUF counts dimensions from the innermost one.
        shapes = {one.name: tuple(int(n) for n in reversed(one.shape)) for one in reader.tensors}
        formats: Counter[str] = Counter()
        for one in reader.tensors:
            formats[one.tensor_type.name] += int(one.n_elements)
        size = sum(int(one.n_bytes) for one in reader.tensors)
    except Exception as error:  # the reader of foreign bytes may raise anything
        raise _damaged(path, error) from error
    return Header(shapes, formats, size, kind)


def _damaged(path: Path, error: Exception) -> WeightsError:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return WeightsError(
        f"{path} is damaged or of another kind ({reason}); get the file again",
        file=path,
        hint="get the file again",
    )
