"""See that all of a model's files are there, before any of its weights are loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files.sources import SHARD_INDEX, ModelSource

WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""The parts of a pipeline that have weights, and the weights' file name."""
TOKENIZERS = ("tokenizer", "tokenizer_2")


def check_model(
    source: ModelSource,
    classes: Sequence[str],
    needed: Sequence[str],
    replaced: Collection[str] = (),
) -> dict[str, str]:
    """See that all files of a pipeline are there, without loading them.

    Args:
        source: Where it is.
        classes: The pipeline classes that will do.
        needed: Parts without which such a pipeline does not work.
        replaced: Parts whose weights come from elsewhere.
    Returns:
        The ending of each other part's weights file.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    parts = check_configuration(source, classes, needed)
    return {
        part: check_part(source, f"{part}/", WEIGHTS[part])
        for part in parts
        if part not in replaced
    }


def check_configuration(
    source: ModelSource, classes: Sequence[str], needed: Sequence[str]
) -> tuple[str, ...]:
    """See that all files of a pipeline but the weights are there; arguments as above.

    Returns:
        The parts that have weights.
    Raises:
        WeightsError: A file is missing or unreadable, or it is another kind of model.
    """
    index = source.read("model_index.json")
    if index.get("_class_name") not in classes:
        raise WeightsError(
            f"'{source.name}' is a {index.get('_class_name')!r}; expected one of: "
            f"{', '.join(classes)}. Name another model, or another renderer"
        )
    parts = _parts(source, index, needed)
    for part in TOKENIZERS:
        if part in parts:
            _check_tokenizer(source, part, index[part][1])
    weighty = tuple(part for part in WEIGHTS if part in parts)
    for part in weighty:
        source.read(f"{part}/config.json")
    return weighty


def _parts(source: ModelSource, index: Mapping[str, Any], needed: Sequence[str]) -> set[str]:
    """The parts of ours that model_index.json says the model has."""
    parts: set[str] = set()
    for part in (*needed, *WEIGHTS, *TOKENIZERS):
        if part not in index and part not in needed:
            continue
        entry = index.get(part)
        if part not in needed and entry == [None, None]:
            continue
        if not (isinstance(entry, list) and [type(item) for item in entry] == [str, str]):
            raise WeightsError(
                f"'{source.name}': model_index.json says {entry!r} for '{part}'; expected "
                "[library, class]: get the file again, or name another model"
            )
        parts.add(part)
    return parts


def check_part(source: ModelSource, folder: str, stem: str) -> str:
    """See that a part's configuration and all its weights are there; the weights' ending."""
    source.read(f"{folder}config.json")
    ending = source.find(f"{folder}{stem}")
    if ending == SHARD_INDEX:
        file = f"{folder}{stem}{ending}"
        for shard in _shards(source, file):
            source.require(f"{folder}{shard}")
    return ending


def _shards(source: ModelSource, file: str) -> list[str]:
    """The names of the files that a sharded model's index points to."""
    weights = source.read(file).get("weight_map")
    if not (isinstance(weights, dict) and all(isinstance(name, str) for name in weights.values())):
        raise WeightsError(f"'{source.name}': {file} has no weight_map; get the file again")
    return sorted(set(weights.values()))


def _check_tokenizer(source: ModelSource, part: str, kind: str) -> None:
    """See that a tokenizer has its words: without them it would read nothing, and say nothing."""
    source.read(f"{part}/tokenizer_config.json")
    if source.has(f"{part}/tokenizer.json"):
        return
    words = ("spiece.model",) if kind.startswith("T5") else ("vocab.json", "merges.txt")
    for file in words:
        source.require(f"{part}/{file}")
