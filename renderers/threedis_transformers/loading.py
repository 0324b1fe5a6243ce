"""Load a model of transformers and its picture processor, after all files were found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from threedis_core.errors import RenderError, WeightsError
from threedis_core.plugin.inspection import Inspection
from threedis_diffusers.devices import find_device, resolve_dtype
from threedis_diffusers.loading import first_of, variant
from threedis_diffusers.model_files.checks import (
    check_weights,
    fetch_part,
    read_configuration,
)
from threedis_diffusers.model_files.requirements import NeededModel, inspect_model
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.options import ModelOptions
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable
from threedis_transformers.words import Words

PROCESSOR = "preprocessor_config.json"
WEIGHTS = "model"
"""What transformers calls a model's weights, without the ending."""


@dataclass(frozen=True, eq=False)
class LoadedVisionModel:
    """A loaded model.

    Args:
        name: What the options call it.
        model: It, in evaluation mode, on ``device``.
        processor: Makes its input from pictures, and something useful from its output.
        device: Where it is.
        dtype: The number format of its weights and its input.
        tokenizer: Makes its input from texts; None if it reads none.
    """

    name: str
    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype
    tokenizer: Any = None

    def check_finite(self, values: Tensor) -> None:
        """Refuse what the model made if it is no numbers.

        Raises:
            RenderError: Some of ``values`` are not finite.
        """
        if values.isfinite().all():
            return
        reason = {
            torch.float16: "use dtype=bfloat16 or dtype=float32",
            torch.bfloat16: "use dtype=float32",
        }.get(self.dtype, "the weights are damaged: get the files again")
        dtype = str(self.dtype).removeprefix("torch.")
        raise RenderError(
            f"'{self.name}' makes numbers that are not finite in dtype {dtype}; {reason}"
        )


@dataclass(frozen=True, eq=False)
class CheckedVisionModel:
    """A model all of whose files were found, and none of whose weights is loaded.

    Args:
        source: Where it is.
        ending: The ending of its weights file.
        model_class: Its class in transformers.
        processor_class: Its picture processor's.
        unused: Beginnings of the names of weights that the model never uses; these may be missing.
        device: Where it will run.
        dtype: The number format of its weights.
        tokenizer_class: Its tokenizer's class in transformers; "" if it reads no texts.
        word_files: The tokenizer's files.
    """

    source: ModelSource
    ending: str
    model_class: str
    processor_class: str
    unused: tuple[str, ...]
    device: torch.device
    dtype: torch.dtype
    tokenizer_class: str = ""
    word_files: tuple[str, ...] = ()

    def load(self) -> LoadedVisionModel:
        """Load the model and its picture processor.

        Raises:
            WeightsError: A file is damaged, or lacks weights.
        """
        import transformers

        source = self.source
        folder = fetch_part(source, WEIGHTS, self.ending, PROCESSOR, *self.word_files)
        tokenizer = None
        with readable(source), quiet():
            if self.tokenizer_class:
                tokenizer = getattr(transformers, self.tokenizer_class).from_pretrained(folder)
            processor = getattr(transformers, self.processor_class).from_pretrained(folder)
            model, report = getattr(transformers, self.model_class).from_pretrained(
                folder,
                dtype=self.dtype,
                use_safetensors=True,
                variant=variant([self.ending]),
                output_loading_info=True,
            )
        if missing := sorted(key for key in report["missing_keys"] if self._is_used(key)):
            raise WeightsError(
                f"the weights of '{source.name}' lack {first_of(missing)}, which its "
                "configuration asks for; get the files again, or name another model"
            )
        model = model.eval().to(self.device)
        return LoadedVisionModel(source.name, model, processor, self.device, self.dtype, tokenizer)

    def _is_used(self, weight: str) -> bool:
        return not weight.startswith(self.unused)


def find_model(
    options: ModelOptions,
    kind: str | tuple[str, ...],
    model_class: str,
    processor_class: str,
    unused: tuple[str, ...] = (),
    words: Words | None = None,
) -> CheckedVisionModel:
    """Check device and files; loads no weights.

    Args:
        options: Which model, and where it runs.
        kind: What config.json must call it: "dpt"; several where it may say one of them.
        model_class: Its class in transformers.
        processor_class: Its picture processor's; one that does without torchvision.
        unused: Beginnings of the names of weights that the model never uses; these may be missing.
        words: The tokenizer of a model that reads texts.
    Raises:
        OptionError: The device is not there.
        WeightsError: A file is missing, or it is another kind of model.
    """
    device = find_device(options.device)
    dtype = resolve_dtype(options, device)
    source = ModelSource(options.model, library="transformers")
    ending = check_files(source, kind)
    return CheckedVisionModel(
        source,
        ending,
        model_class,
        processor_class,
        unused,
        device,
        dtype,
        words.tokenizer_class if words else "",
        words.find(source) if words else (),
    )


def inspect_files(options: ModelOptions, kind: str | tuple[str, ...]) -> Inspection:
    """What a model needs, and what of it is there; loads nothing and asks no network.

    Args:
        options: Which model, and where it would run.
        kind: What config.json must call it, or one of what it may.
    Raises:
        OptionError: The device is not there.
    """
    device = find_device(options.device)
    source = ModelSource(options.model, library="transformers")
    needed = NeededModel(source, partial(_look, kind=kind), "model")
    return inspect_model([needed], device, resolve_dtype(options, device))


def _look(source: ModelSource, kind: str | tuple[str, ...]) -> None:
    """Note every file, also where the first one that tells the kind is missing."""
    found = read_configuration(source, "config.json")
    read_configuration(source, PROCESSOR)
    check_weights(source, "", WEIGHTS)
    if found:
        check_files(source, kind)


def check_files(source: ModelSource, kind: str | tuple[str, ...]) -> str:
    """See that all files of a model are there and that it is of ``kind``, or of one of them.

    Returns:
        The ending of the weights file.
    Raises:
        WeightsError: They are not, or it is not.
    """
    model_type = read_configuration(source, "config.json").get("model_type")
    kinds = (kind,) if isinstance(kind, str) else kind
    if model_type not in kinds:
        raise WeightsError(
            f"'{source.name}' is a model of type {model_type!r}; expected "
            f"{' or '.join(map(repr, kinds))}: name another model"
        )
    read_configuration(source, PROCESSOR)
    return check_weights(source, "", WEIGHTS)
