"""The options of renderers whose pipelines' parts may come from elsewhere, or be quantised."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, field_validator

from threedis_diffusers.options import DiffusersOptions
from threedis_diffusers.quantized.wanted import Wanted, read_wanted

PART = (
    "that replaces the model's own: a local folder, a hub id with a folder or file inside after "
    "it, a .gguf or a .safetensors file; null: the model's own."
)
"""How the option of a part ends."""


def part_field(kind: str) -> Any:
    """The option of a part of a class, such as "An AutoencoderKL"."""
    return Field(default=None, min_length=1, description=f"{kind} {PART}")


class PartOptions(DiffusersOptions):
    """Options of a pipeline whose parts may come from elsewhere, or be quantised.

    A family has an option for each of its ``parts``, by the part's name.
    """

    parts: ClassVar[tuple[str, ...]]
    """The parts that have weights."""
    large: ClassVar[tuple[str, ...]]
    """Those that are quantised where none is named."""

    quantization: str | dict[str, Any] | None = Field(
        default=None,
        description="Weights of fewer bits, for less memory: int8, fp8 or nf4 for the large parts; "
        "diffusers' quant_backend, quant_kwargs and components_to_quantize; or one of the two for "
        "each part by its name; null: weights as they are.",
    )

    @property
    def wanted(self) -> dict[str, Wanted | None]:
        """How each part is to be quantised; None: as its file is."""
        return read_wanted(self.quantization, self.parts, self.large)

    @property
    def replaced(self) -> dict[str, str]:
        """What replaces the model's own parts, by part."""
        given = {part: getattr(self, part) for part in self.parts}
        return {part: name for part, name in given.items() if name is not None}

    @field_validator("quantization")
    @classmethod
    def _known_quantization(cls, value: Any) -> Any:
        read_wanted(value, cls.parts, cls.large)
        return value
