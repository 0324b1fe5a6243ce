"""See that all of a model's files are there, before any of its weights are loaded."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from threedis_core.errors import WeightsError
from threedis_diffusers.model_files.sources import SHARD_INDEX, ModelSource

WEIGHTS_STEM = "diffusion_pytorch_model"
"""What diffusers calls the weights of a part, without the ending."""
WEIGHTS = {
    "unet": WEIGHTS_STEM,
    "transformer": WEIGHTS_STEM,
    "vae": WEIGHTS_STEM,
    "text_encoder": "model",
    "text_encoder_2": "model",
    "text_encoder_3": "model",
    "controlnet": WEIGHTS_STEM,
}
"""The parts of a pipeline that have weights, and the weights' file name."""
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
TEMPLATE_FILE = "chat_template.jinja"
OTHER_WORD_FILES = ("added_tokens.json", "special_tokens_map.json", TEMPLATE_FILE)
WORD_FILES = ("merges.txt", "tokenizer.json", "spiece.model", "vocab.json")
"""What a tokenizer may have beside its configuration, in the order of fetching."""
TRANSFORMERS = (
    *("FluxTransformer2DModel", "SD3Transformer2DModel"),
    *("ZImageTransformer2DModel", "QwenImageTransformer2DModel"),
)
CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")
QWEN = ("Qwen3Model", "Qwen3ForCausalLM", "Qwen2_5_VLForConditionalGeneration")
CLIP_WORDS = ("CLIPTokenizer", "CLIPTokenizerFast")
WORDS = (*CLIP_WORDS, "T5Tokenizer", "T5TokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast")
OTHER_WORDS = (*WORDS, "PreTrainedTokenizerFast", "TokenizersBackend")
PART_CLASSES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "transformer": ("diffusers", TRANSFORMERS),
    "vae": ("diffusers", ("AutoencoderKL", "AutoencoderKLQwenImage")),
    "text_encoder": ("transformers", (*CLIP, *QWEN)),
    "text_encoder_2": ("transformers", (*CLIP, "T5EncoderModel")),
    "text_encoder_3": ("transformers", ("T5EncoderModel",)),
    "tokenizer": ("transformers", WORDS),
    "tokenizer_2": ("transformers", OTHER_WORDS),
    "tokenizer_3": ("transformers", OTHER_WORDS),
    "scheduler": ("diffusers", ()),
}
"""The library and the classes of each part that is loaded; no other class of a model's is.

Any scheduler of diffusers will do: their names end alike.
"""
LIBRARIES = ("diffusers", "transformers")
NAMED_ELSEWHERE = ("auto_map", "custom_pipelines", "transformers_weights")
"""What a configuration may name for transformers to load besides: code, or another weights file."""
KERNELS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Likewise, if it is the id of a repository: code of an attention kernel."""
ADAPTER = "adapter_config.json"
"""Beside a model's weights it makes transformers load an adapter too."""
OTHER_INDEXES = (".safetensors.index.fp16.json", ".safetensors.fp16.index.json")
"""How diffusers and transformers spell the index of a variant."""
SHARD = re.compile(r"[^/\\]+\.safetensors")
"""A file beside its index. The loaders tell a torch pickle by the name alone."""


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
        part: check_weights(source, f"{part}/", WEIGHTS[part])
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
        read_configuration(source, f"{part}/config.json")
    if "scheduler" in parts:
        read_configuration(source, "scheduler/scheduler_config.json")
    return weighty


def _parts(source: ModelSource, index: Mapping[str, Any], needed: Sequence[str]) -> set[str]:
    """The parts of ours that model_index.json says the model has.

    diffusers imports whatever module an entry names, used or not, so that each one is looked at.
    """
    _check_others(source, index)
    parts: set[str] = set()
    for part in PART_CLASSES:
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
        _check_class(source, part, entry)
        parts.add(part)
    return parts


def _check_others(source: ModelSource, index: Mapping[str, Any]) -> None:
    """Refuse a part that is not used here if its module is none of diffusers or transformers."""
    from diffusers import pipelines

    for part, entry in index.items():
        if not isinstance(entry, list) or part in PART_CLASSES:
            continue
        library = entry[0] if entry else None
        known = isinstance(library, str) and (library in LIBRARIES or hasattr(pipelines, library))
        if library is not None and not known:
            raise WeightsError(
                f"'{source.name}': model_index.json says {entry!r} for '{part}'; expected a class "
                f"of {' or '.join(LIBRARIES)}, for code that a model names is never run: name "
                "another model, or delete that line"
            )


def _check_class(source: ModelSource, part: str, entry: Sequence[str]) -> None:
    """Refuse a part of another class than those that are known, and code that would replace it."""
    library, classes = PART_CLASSES[part]
    fits = entry[1] in classes if classes else entry[1].endswith("Scheduler")
    if entry[0] != library or not fits:
        raise WeightsError(
            f"'{source.name}': model_index.json says {entry!r} for '{part}'; expected {library} "
            f"and {' or '.join(classes) or 'one of its schedulers'}, for no other code is run: "
            "name another model"
        )
    if source.on_this_machine(f"{part}/{library}.py") is not None:
        raise WeightsError(
            f"'{source.name}' has a file {part}/{library}.py, which would be run in place of "
            f"{library}; no code of a model is ever run: delete it"
        )


def read_configuration(source: ModelSource, file: str) -> dict[str, Any]:
    """The JSON object in ``file``, if it names neither code nor weights that are elsewhere.

    Raises:
        WeightsError: It is not there, is not a JSON object, or names some.
    """
    config = source.read(file)
    for key, value in _settings(config):
        if key in NAMED_ELSEWHERE or (key in KERNELS and "/" in str(value)):
            raise WeightsError(
                f"'{source.name}': {file} says {key} {value!r:.80}; code and weights that a "
                "configuration names are never run or read: name another model, or delete that "
                "line"
            )
    return config


def _settings(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of a JSON value, however deep."""
    if isinstance(value, dict):
        yield from value.items()
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(inner, Iterable) and not isinstance(inner, str):
        for one in inner:
            yield from _settings(one)


def check_part(source: ModelSource, folder: str, stem: str) -> str:
    """See that a part's configuration and all its weights are there; the weights' ending."""
    read_configuration(source, f"{folder}config.json")
    return check_weights(source, folder, stem)


def check_weights(source: ModelSource, folder: str, stem: str) -> str:
    """See that all weights of a part are there, and no others would be read; their ending.

    Raises:
        WeightsError: A file is missing, or one that would be read is no safetensors file.
    """
    ending = source.find(f"{folder}{stem}")
    if ending == SHARD_INDEX:
        for shard in _shards(source, f"{folder}{stem}{ending}"):
            source.require(f"{folder}{shard}")
    for index in {SHARD_INDEX, *OTHER_INDEXES} - {ending}:
        file = f"{folder}{stem}{index}"
        if source.on_this_machine(file) is not None:  # a loader may follow it all the same
            _shards(source, file)
    check_no_adapter(source, folder)
    return ending


def check_no_adapter(source: ModelSource, folder: str = "") -> None:
    """See that nothing beside a part's weights makes a loader read an adapter, too.

    Raises:
        WeightsError: Something does.
    """
    if source.on_this_machine(f"{folder}{ADAPTER}") is not None:
        raise WeightsError(
            f"'{source.name}' has {folder}{ADAPTER}, which names more weights; delete it, or give "
            "them as a LoRA"
        )


def fetch_part(source: ModelSource, stem: str, ending: str, *others: str) -> Path:
    """The folder of a part's files, fetched from the hub if they are not here yet.

    A loader that is given this folder finds what was checked, and asks no hub for more.

    Args:
        source: Where the part is.
        stem: Its weights file's name, without the ending.
        ending: See ``check_weights``.
        *others: Its files beside configuration and weights.
    Raises:
        WeightsError: A file cannot be fetched, or others would be read.
    """
    files = ["config.json", *others, stem + ending]
    if ending == SHARD_INDEX:
        files += _shards(source, stem + ending)
    folder = source.get_all(files)
    check_weights(ModelSource(str(folder), library=source.library), "", stem)
    return folder


def fetch_model(source: ModelSource, endings: Mapping[str, str]) -> Path:
    """The folder of a pipeline's files, fetched from the hub as far as they are not here yet.

    Exactly the files that are read are fetched, and a loader that is given the folder finds what
    was checked.

    Args:
        source: Where it is; it was checked.
        endings: By part, the ending of its weights file; parts that come from elsewhere, or from
            one file, are left out.
    Raises:
        WeightsError: A file cannot be fetched.
    """
    if source.is_local:
        return source.path
    index = source.read("model_index.json")
    files = ["model_index.json"]
    for part in PART_CLASSES:
        if index.get(part) not in (None, [None, None]):
            files += [f"{part}/{file}" for file in _files_of(source, part, endings.get(part))]
    return source.get_all(files)


def _files_of(source: ModelSource, part: str, ending: str | None) -> Iterator[str]:
    """The files of a part of a pipeline, without its folder."""
    if part == "scheduler":
        yield "scheduler_config.json"
    elif part in TOKENIZERS:
        # Where all these are here already, the rest was asked for once.
        is_there = source.on_this_machine
        if not any(is_there(f"{part}/{file}") for file in WORD_FILES):
            is_there = source.has
        yield from (f for f in (*OTHER_WORD_FILES, *WORD_FILES) if is_there(f"{part}/{f}"))
        yield "tokenizer_config.json"
    else:
        yield "config.json"
        if ending is not None:
            yield WEIGHTS[part] + ending
        if ending == SHARD_INDEX:
            yield from _shards(source, f"{part}/{WEIGHTS[part]}{ending}")


def _shards(source: ModelSource, file: str) -> list[str]:
    """The names of the files that a sharded model's index points to."""
    weights = source.read(file).get("weight_map")
    if not (isinstance(weights, dict) and all(isinstance(name, str) for name in weights.values())):
        raise WeightsError(f"'{source.name}': {file} has no weight_map; get the file again")
    shards = sorted(set(weights.values()))
    for shard in shards:
        if not SHARD.fullmatch(shard):
            raise WeightsError(
                f"'{source.name}': {file} names {shard!r:.80}; expected .safetensors files beside "
                "it (a torch pickle is never read): get the files again"
            )
    return shards


def _check_tokenizer(source: ModelSource, part: str, kind: str) -> None:
    """See that a tokenizer has its words: without them it would read nothing, and say nothing."""
    read_configuration(source, f"{part}/tokenizer_config.json")
    words = ("spiece.model",) if kind.startswith("T5") else ("vocab.json", "merges.txt")
    if all(source.on_this_machine(f"{part}/{file}") for file in words):
        pass  # a cached model needs no network to tell that it has no tokenizer.json
    elif source.has(f"{part}/tokenizer.json"):
        return
    for file in words:
        source.require(f"{part}/{file}")
