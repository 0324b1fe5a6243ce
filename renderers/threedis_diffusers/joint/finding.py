"""See that options and every file of a model with joint attention will do, before any is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy import linspace

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.joint.options import JointOptions
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.find import FoundParts

Fits = Mapping[str, tuple[str, str]]
"""What of a part's configuration is the same as what of the transformer's."""


def check_fits(fits: Fits, found: FoundParts, model: ModelSource) -> None:
    """See that what comes from elsewhere fits together.

    Raises:
        WeightsError: A part is not of the transformer's kind.
    """
    transformer = found.configuration("transformer", model)
    for part, (own, wanted) in fits.items():
        width, needed = found.configuration(part, model).get(own), transformer.get(wanted)
        if width != needed:
            raise WeightsError(
                f"the {part} has {own} {width}, but the transformer has {wanted} {needed}; name "
                "parts of the same kind of model",
                path=part,
                hint="name parts of the same kind of model",
            )


def check_class(config: Mapping[str, Any], wanted: str, part: str, name: str) -> None:
    """See that a configuration is of the class that a renderer drives.

    Raises:
        WeightsError: It is of another one.
    """
    if (kind := config.get("_class_name", wanted)) != wanted:
        raise WeightsError(
            f"{part} '{name}' is a {kind!r}; expected {wanted}: name another one, or another "
            "renderer",
            path=part,
            hint=f"name a {part} of this kind of model",
        )


def check_loras(options: JointOptions, loras: Sequence[LoRA]) -> None:
    """See that LoRAs can be loaded into the transformer as it will be stored.

    Raises:
        OptionError: They cannot: diffusers looks for weights by names that quanto changes.
    """
    wanted = options.wanted.get("transformer")
    if wanted is not None and wanted.backend == "quanto" and loras:
        raise OptionError(
            "quantization of the transformer by quanto takes no LoRAs; use int8 (torchao), fp8, "
            "nf4 or a GGUF file, or leave the LoRAs out",
            path="quantization",
            hint="use int8, fp8, nf4 or a GGUF file, or leave the LoRAs out",
        )


def start_flow(scheduler: Any, steps: int) -> None:
    """Make a scheduler ready as pipelines of flow matching do that give it their noise levels."""
    scheduler.set_timesteps(sigmas=linspace(1, 1 / steps, steps), mu=1.0)
