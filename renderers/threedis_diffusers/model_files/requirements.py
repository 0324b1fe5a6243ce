"""What a pipeline needs: its files, which of them are here, and the memory its weights will take.

The checks that every model passes before it is loaded are run on a ``LocalSource``. Nothing is
loaded and no network is asked.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os.path import expanduser  # leaves the home of nobody as it is; Path's own raises
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from threedis_core.errors import WeightsError
from threedis_core.plugin.inspection import Download, Inspection, MemoryNeed, ModelPart, NeededFile
from threedis_diffusers.devices import SHARED_MEMORY
from threedis_diffusers.loras import only_file
from threedis_diffusers.memory.needs import BASIS, Drawing, memory_needs, work_memory
from threedis_diffusers.memory.sizes import PartSize, size_in_files
from threedis_diffusers.model_files.checks import PART_CLASSES, TOKENIZERS
from threedis_diffusers.model_files.local_source import LocalSource
from threedis_diffusers.model_files.published import PUBLISHED
from threedis_diffusers.model_files.sources import (
    HALF,
    HUB_ID,
    SHARD_INDEX,
    ModelSource,
    download_command,
)
from threedis_diffusers.options import LoRA
from threedis_diffusers.parts.header import read_header

SAFETENSORS, PACKED = (".safetensors", SHARD_INDEX), (".gguf",)
WEIGHT_FILES = (*SAFETENSORS, *PACKED, ".ckpt", ".pt", ".pth")
FLOAT32 = 4
"""Bytes of a number in the torch pickles that are read."""
HALF_BYTES = 2
LAYERS = 50
"""In so many parts a model of which only the bytes are known is thought to come."""
WHOLE = "pipeline"
"""The part that a pipeline's files at the top belong to."""


@dataclass(frozen=True)
class NeededModel:
    """A model, or a part of one, that a backend loads.

    Args:
        source: Where it is.
        check: The check that it passes before it is loaded.
        part: The part's name; "" for a pipeline, whose folders are its parts.
        pipeline: The pipeline's class in diffusers, which says what parts it has.
    """

    source: ModelSource
    check: Callable[[ModelSource], object]
    part: str = ""
    pipeline: str = ""


@dataclass(frozen=True)
class PartFiles:
    """A part of a model: its name, its source, and where each file is (None: missing)."""

    name: str
    source: LocalSource
    files: dict[str, Path | None]


def needed_lora(lora: LoRA, name: str) -> NeededModel:
    """The LoRA as something needed, under ``name``."""
    path = Path(expanduser(lora.path))
    if path.is_file():
        return NeededModel(
            ModelSource(str(path.parent)), lambda source: source.require(path.name), name
        )
    return NeededModel(ModelSource(lora.path), partial(_check_lora, lora), name)


def inspect_model(
    models: Sequence[NeededModel],
    device: torch.device,
    dtype: torch.dtype,
    size: tuple[int, int] | None = None,
    upcasts_vae: bool = False,
    half: bool = False,
    bits: Mapping[str, float] = MappingProxyType({}),
) -> Inspection:
    """Look for everything that is needed, and compute what memory it takes.

    Args:
        models: What the backend loads.
        device: Where it would run.
        dtype: The number format it would use.
        size: (width, height) of a picture, in pixels; None: how much memory the work takes is not
            known.
        upcasts_vae: True for a pipeline that decodes in float32 if it computes in float16.
        half: True if files in float16 are preferred.
        bits: Of a weight of each part that is quantised while it is loaded.
    """
    found: list[PartFiles] = []
    problems: list[str] = []
    for one in models:
        source = LocalSource(
            one.source.name, one.source.subfolder, _stand_in(one.pipeline), half=half
        )
        try:
            one.check(source)
        except WeightsError as error:
            if None not in source.seen.values():  # else it only follows from what is missing
                problems.append(str(error))
        found += _parts(source, one.part)
    memory: tuple[MemoryNeed, ...] = ()
    try:
        if size is not None and (sizes := _part_sizes(found, dtype.itemsize, bits)):
            configs = {part.name: config for part in found if (config := _config(part))}
            upcast = upcasts_vae and dtype == torch.float16 and _is_upcast(found, configs)
            each = dtype.itemsize
            work = work_memory(configs, sizes, Drawing(size), each, 4 if upcast else each)
            stored = _part_sizes(found, each, {})
            counts = [sum(one.parameters for one in some.values()) for some in (stored, sizes)]
            unpacked = (counts[0] - counts[1]) * each
            shared = device.type in SHARED_MEMORY
            memory = memory_needs(sizes, each, work, shared, unpacked)
    except WeightsError as error:
        problems.append(str(error))
    downloads = tuple(_downloads(found))
    return Inspection(
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        parts=tuple(_model_part(part) for part in found),
        memory=memory,
        memory_basis=BASIS if memory else "",
        downloads=downloads,
        commands=tuple(download_command(one.source, one.files) for one in downloads),
        notes=tuple(_notes(found)),
        problems=tuple(problems),
    )


def _check_lora(lora: LoRA, source: ModelSource) -> None:
    if lora.file is not None:
        source.require(lora.file)
    elif source.is_local or source.safetensors():
        source.require(only_file(source))
    else:
        source.require("*.safetensors")


def _stand_in(pipeline: str) -> dict[str, Any]:
    """What a pipeline's ``model_index.json`` says, from the class's own signature.

    Where that names no class but a base of several, any of ours stands for it.
    """
    if not pipeline:
        return {}
    import diffusers

    parts = inspect.signature(getattr(diffusers, pipeline).__init__).parameters.values()
    kinds = {part.name: getattr(part.annotation, "__name__", "") for part in parts}
    entries = {
        part: [library, _one_of(classes, kinds[part])]
        for part, (library, classes) in PART_CLASSES.items()
        if part in kinds
    }
    return {"_class_name": pipeline, **entries}


def _one_of(classes: Sequence[str], kind: str) -> str:
    return kind if kind in classes else next(iter(classes), "Scheduler")


def _parts(source: LocalSource, name: str) -> list[PartFiles]:
    grouped: dict[str, dict[str, Path | None]] = {}
    for path, here in source.seen.items():
        folder, slash, _ = path.partition("/")
        grouped.setdefault(name or (folder if slash else WHOLE), {})[path] = here
    return [PartFiles(part, source, files) for part, files in grouped.items()]


def _model_part(part: PartFiles) -> ModelPart:
    published = PUBLISHED.get(part.source.repository)
    weights = [path for path in part.files if path.endswith(".safetensors")]
    files: list[NeededFile] = []
    for path, here in part.files.items():
        size = here.stat().st_size if here is not None else None
        if here is None and published is not None and weights == [path]:
            size = published.weights_size(part.name, path.endswith(HALF))
        if here is None and published is not None:
            size = published.files.get(path, size)
        files.append(NeededFile(path, size, here is not None))
    return ModelPart(part.name, part.source.name, tuple(files))


def _published(part: PartFiles) -> PartSize | None:
    """The published size of a part of a known model."""
    known = PUBLISHED.get(part.source.repository)
    if known is None:
        return None
    in_files = (known.in_files[path] for path in part.files if path in known.in_files)
    return known.parts.get(part.name) or known.parts.get("") or next(in_files, None)


def _downloads(found: Sequence[PartFiles]) -> Iterator[Download]:
    """What is missing and lies on the hub, by repository."""
    wanted: dict[str, dict[str, int | None]] = {}
    for part in found:
        name = part.source.name
        if part.source.is_local or not HUB_ID.fullmatch(name):
            continue
        missing = [file for file in _model_part(part).files if not file.present]
        if missing and part.name in TOKENIZERS:  # which there are differs from model to model
            missing = [NeededFile(f"{part.name}/*", None, False)]
        wanted.setdefault(name, {}).update({file.path: file.size for file in missing})
    for name, files in wanted.items():
        if files:
            known = [size for size in files.values() if size is not None]
            published = PUBLISHED.get(name.partition("@")[0])
            licence = published.licence if published is not None else "see its page"
            gated = published is not None and published.gated
            yield Download(name, tuple(files), sum(known) if known else None, licence, gated)


def _notes(found: Sequence[PartFiles]) -> Iterator[str]:
    """Licences, and where one must log in."""
    for name in dict.fromkeys(part.source.repository for part in found if not part.source.is_local):
        known, page = PUBLISHED.get(name), f"https://huggingface.co/{name}"
        licence = known.licence if known is not None else "see its page"
        yield f"Licence of {name}: {licence} ({page})"
        if known is not None and known.gated:
            yield f"{name} is gated: accept its licence on its page, then log in: hf auth login"


def _part_sizes(
    found: Sequence[PartFiles], bytes_each: int, bits: Mapping[str, float]
) -> dict[str, PartSize]:
    """The size of each part that has weights; nothing if that of one is not known.

    A part whose weights stay packed counts as one that has as few of ``bytes_each``.
    """
    sizes: dict[str, PartSize] = {}
    for part in found:
        files = _model_part(part).files
        weights = [file for file in files if file.path.endswith(WEIGHT_FILES)]
        if not weights:
            continue
        size = _size_of(part, weights, bytes_each)
        if size is None:
            return {}
        if part.name in bits:
            packed = round(size.parameters * bits[part.name] / 8 / bytes_each)
            size = replace(size, parameters=packed)
        sizes[part.name] = size
    return sizes


def _size_of(part: PartFiles, weights: Sequence[NeededFile], bytes_each: int) -> PartSize | None:
    """The size of a part: by the headers of its files, as published, or by its files' bytes."""
    here = [path for file in weights if (path := part.files[file.path]) is not None]
    if len(here) == len(weights) and (size := _size_here(part, here, bytes_each)) is not None:
        return size
    if (size := _published(part)) is not None:
        stored = PUBLISHED[part.source.repository].stored.get(part.name, FLOAT32)
        # Packed weights, of which some numbers share a byte, stay so.
        packed = round(size.parameters * stored / bytes_each)
        return size if stored >= HALF_BYTES else replace(size, parameters=packed)
    if any(file.size is None or file.path.endswith(SAFETENSORS) for file in weights):
        return None
    stored = sum(file.size or 0 for file in weights)
    if weights[0].path.endswith(PACKED):  # it stays as it is
        return PartSize(stored // bytes_each, stored // bytes_each // LAYERS)
    return PartSize(stored // FLOAT32, stored // FLOAT32 // LAYERS)


def _size_here(part: PartFiles, files: Sequence[Path], bytes_each: int) -> PartSize | None:
    """The size of a part whose files are all here; None if their headers do not tell it."""
    stored = sum(path.stat().st_size for path in files) // bytes_each
    packed = PartSize(stored, stored // LAYERS)
    if "quantization_config" in _config(part):
        return packed
    if len(files) == 1 and files[0].name.endswith((*PACKED, SAFETENSORS[0])):
        header = read_header(files[0])
        if header.kind and part.name.startswith("text_"):  # transformers unpacks it
            return PartSize(header.count, header.count // LAYERS)
        if header.packed:
            return packed
    if all(path.name.endswith(SAFETENSORS) for path in files):
        return size_in_files(files)
    return None


def _is_upcast(found: Sequence[PartFiles], configs: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the VAE decodes in float32, by its configuration or as it is published."""
    vaes = [part.source.repository for part in found if part.name == "vae"]
    known = PUBLISHED.get(vaes[-1]) if vaes else None
    usual = known is None or not known.decodes_in_half
    return bool(configs.get("vae", {}).get("force_upcast", usual))


def _config(part: PartFiles) -> dict[str, Any]:
    """A part's configuration, as far as it is here."""
    here = [path for file, path in part.files.items() if file.endswith("config.json")]
    if not here or here[0] is None:
        return {}
    return json.loads(here[0].read_text("utf-8"))
