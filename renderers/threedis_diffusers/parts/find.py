"""Find the parts of a pipeline that come from elsewhere or are quantised, before anything loads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.memory.lending import owned_alone
from threedis_diffusers.model_files.checks import (
    PART_CLASSES,
    WEIGHTS,
    check_part,
    check_weights,
    read_configuration,
)
from threedis_diffusers.model_files.requirements import NeededModel
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.parts.folder import PipelinePart
from threedis_diffusers.parts.header import read_header
from threedis_diffusers.parts.one_file import OneFile
from threedis_diffusers.parts.options import PartOptions
from threedis_diffusers.parts.place import CONFIG, PartPlace, folder_of, part_place
from threedis_diffusers.quantized.configs import check_stored, find_config
from threedis_diffusers.quantized.fp8 import USUAL, keep_in_fp8
from threedis_diffusers.quantized.wanted import FP8, Wanted

Part = PipelinePart | OneFile
INDEX = "model_index.json"


@dataclass(frozen=True)
class FoundParts:
    """What differs from the model as it is stored.

    Args:
        parts: The parts that come from elsewhere, by name.
        configs: By part of the model's own, the library's configuration that quantises it.
        fp8: The parts whose weights are kept as float8 because a person wants it.
        plain: The parts that a person wants in the number format that is computed in.
    """

    parts: Mapping[str, Part] = field(default_factory=dict[str, Part])
    configs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fp8: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    def load(self, dtype: torch.dtype) -> dict[str, Any]:
        """The parts that come from elsewhere, loaded on the CPU."""
        return {name: part.load(dtype) for name, part in self.parts.items()}

    def configuration(self, part: str, model: ModelSource) -> dict[str, Any]:
        """What describes a part, wherever it comes from."""
        if part in self.parts:
            return self.parts[part].configuration
        return model.read(f"{part}/{CONFIG}")

    @property
    def packed(self) -> set[str]:
        """The parts whose weights are not plain numbers."""
        files = {name for name, part in self.parts.items() if _is_packed(part)}
        return files | set(self.configs) | set(self.fp8)

    @property
    def arguments(self) -> dict[str, Any]:
        """What a pipeline is told that quantises its own parts."""
        if not self.configs:
            return {}
        from diffusers import PipelineQuantizationConfig

        mapping = dict(self.configs)
        return {"quantization_config": PipelineQuantizationConfig(quant_mapping=mapping)}

    def keep_in_fp8(self, pipeline: Any, dtype: torch.dtype) -> None:
        """Keep weights of a loaded pipeline as float8: those asked for, and those stored so.

        LoRAs have to be loaded before.
        """
        formats = dict.fromkeys(self.fp8, USUAL)
        for name, part in self.parts.items():
            if isinstance(part, OneFile) and name not in self.plain and part.fp8 is not None:
                formats[name] = part.fp8
        with owned_alone(pipeline):
            for name, kept in formats.items():
                if (part := getattr(pipeline, name)) is not None:
                    keep_in_fp8(part, dtype, kept)


def find_parts(
    options: PartOptions,
    model: ModelSource,
    dtype: torch.dtype,
    *,
    apart: tuple[str, ...] = (),
    keep: Mapping[str, tuple[str, ...]] | None = None,
) -> FoundParts:
    """Find all parts of a pipeline that come from elsewhere or are quantised.

    Args:
        options: Where the parts are, and how they are to be quantised.
        model: The pipeline that the other parts come from.
        dtype: The number format to compute in.
        apart: Parts that somebody else looks for.
        keep: By part, layers that are not to be quantised.
    Raises:
        OptionError: Something cannot be quantised so on this machine.
        WeightsError: A file is missing or unreadable, or it is of another kind.
    """
    wanted, keep = options.wanted, keep or {}
    parts = {
        name: find_part(where, name, model, dtype, wanted.get(name), keep.get(name, ()))
        for name, where in options.replaced.items()
        if name not in apart
    }
    own = [name for name in options.parts if name not in parts and name not in apart]
    index = model.read(INDEX) if own else {}
    configs = {
        name: _find_own(
            model,
            name,
            index.get(name) not in (None, [None, None]),
            dtype,
            wanted.get(name),
            keep.get(name, ()),
        )
        for name in own
    }
    return FoundParts(
        parts,
        {name: config for name, config in configs.items() if config is not None},
        fp8=tuple(name for name, one in wanted.items() if one is not None and one.backend == FP8),
        plain=tuple(name for name, one in wanted.items() if one is None),
    )


def _find_own(
    model: ModelSource,
    part: str,
    there: bool,
    dtype: torch.dtype,
    wanted: Wanted | None,
    keep: tuple[str, ...],
) -> Any:
    """The library's configuration that quantises one of the model's own parts."""
    if there:
        config, name = read_configuration(model, f"{part}/{CONFIG}"), f"{model.name}/{part}"
        library = PART_CLASSES[part][0]
        return find_quantization(config, wanted, part, name, dtype, library, keep)
    if wanted is not None:
        raise OptionError(
            f"quantization names the {part}, but '{model.name}' has none; leave it out",
            path="quantization",
            hint=f"leave {part} out of quantization",
        )
    return None


def find_part(
    where: str,
    part: str,
    model: ModelSource,
    dtype: torch.dtype,
    wanted: Wanted | None = None,
    keep: tuple[str, ...] = (),
) -> Part:
    """Find a part that comes from elsewhere.

    Args:
        where: As a person wrote it; see ``part_place``.
        part: Its name in the pipeline.
        model: The pipeline that it goes into; its own part describes one that is one file.
        dtype: The number format to compute in.
        wanted: How it is to be quantised.
        keep: Layers that are not.
    Raises:
        OptionError: It cannot be quantised so on this machine.
        WeightsError: A file is missing or unreadable, or it is of another kind.
    """
    place = part_place(where, model.half)
    library, kinds = PART_CLASSES[part]
    if place.file:
        entry = model.read(INDEX).get(part)
        kind = entry[1] if isinstance(entry, list) else kinds[0]
        config = replace(model, subfolder=part)
        one = OneFile(place.source, place.file, part, str(kind), library, config, wanted, keep)
        one.check()
        return one
    source = replace(folder_of(place.source, part), library=library)
    found = read_configuration(source, CONFIG)
    kind = _class_of(found, part, where)
    quantization = find_quantization(found, wanted, part, where, dtype, library, keep)
    stem = WEIGHTS[part]
    return PipelinePart(source, kind, check_weights(source, "", stem), library, stem, quantization)


def find_quantization(
    config: Mapping[str, Any],
    wanted: Wanted | None,
    part: str,
    name: str,
    dtype: torch.dtype,
    library: str = "diffusers",
    keep: tuple[str, ...] = (),
) -> Any:
    """The library's configuration that quantises a part in a folder; None: as its files are.

    Args:
        config: The part's own configuration.
        wanted: How it is to be quantised.
        part: Its name in the pipeline.
        name: Where it is, for the messages.
        dtype: The number format to compute in.
        library: Whose it is.
        keep: Layers that are not quantised.
    Raises:
        OptionError: It is quantised already, or cannot be on this machine.
        WeightsError: Nobody knows how it is stored.
    """
    stored = check_stored(config, library, name)
    if wanted is None:
        return None
    if stored:
        raise OptionError(
            f"quantization names the {part}, which was saved quantised by {stored} already; leave "
            f"{part} out of quantization",
            path="quantization",
            hint=f"leave {part} out of quantization",
        )
    return find_config(wanted, library, dtype, keep=keep)


def needed_parts(options: PartOptions, apart: tuple[str, ...] = ()) -> list[NeededModel]:
    """The parts that come from elsewhere, but those ``apart``, as something needed."""
    return [
        needed_part(part_place(where), part)
        for part, where in options.replaced.items()
        if part not in apart
    ]


def needed_part(place: PartPlace, part: str) -> NeededModel:
    """A part that comes from elsewhere, as something needed."""

    def check(source: ModelSource) -> None:
        if place.file:
            source.require(place.file)
            if (here := source.on_this_machine(place.file)) is not None:
                read_header(here)
            return
        source = folder_of(source, part)
        check_part(source, "", WEIGHTS[part])
        if config := source.read(CONFIG):
            _class_of(config, part, source.name)

    return NeededModel(place.source, check, part)


def _class_of(config: Mapping[str, Any], part: str, where: str) -> str:
    """The class of a part by its configuration, if it is one that is loaded as this part."""
    kind = config.get("_class_name") or next(iter(config.get("architectures") or ()), None)
    if kind not in PART_CLASSES[part][1]:
        raise WeightsError(
            f"{part} '{where}' is a {kind!r}; expected {' or '.join(PART_CLASSES[part][1])}: name "
            "another one",
            path=part,
            hint=f"name a {part} of this kind of model",
        )
    return kind


def _is_packed(part: Part) -> bool:
    if isinstance(part, OneFile):
        return not part.is_unpacked and (part.is_gguf or part.fp8 is not None)
    return part.quantization is not None or "quantization_config" in part.configuration
