"""A part of a pipeline in one file: GGUF, or safetensors, as programs for pictures share them.

What describes it is the configuration of that part of the model that it goes into, or what the file
itself tells; the hub is never asked for another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from threedis_core.errors import OptionError, WeightsError
from threedis_diffusers.complete import complete
from threedis_diffusers.model_files.checks import check_no_adapter, read_configuration
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.own_thread import patched_here
from threedis_diffusers.parts.compare import differences, prefixed
from threedis_diffusers.parts.header import Header, read_header
from threedis_diffusers.parts.place import CONFIG, GGUF_ENDING
from threedis_diffusers.quantized.configs import find_config
from threedis_diffusers.quantized.fp8 import FORMATS
from threedis_diffusers.quantized.wanted import BFL, FP8, GGUF, Wanted
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable

T5_KINDS = ("t5", "t5encoder")
"""What a GGUF file of a T5 says that it is."""


@dataclass(frozen=True)
class OneFile:
    """A part of a pipeline whose weights are one file.

    Args:
        source: Where the file is.
        file: Its path inside.
        part: The part's name in the pipeline.
        kind: Its class.
        library: Whose class it is: "diffusers" or "transformers".
        config: Where the configuration of the part is, or what makes it from the file.
        wanted: How a person wants it quantised; None: as the file is.
        keep: Layers that are not quantised while loading.
    """

    source: ModelSource
    file: str
    part: str
    kind: str
    library: str
    config: ModelSource | Callable[[Path], dict[str, Any]]
    wanted: Wanted | None = None
    keep: tuple[str, ...] = ()

    @property
    def is_gguf(self) -> bool:
        """True for a GGUF file."""
        return self.file.endswith(GGUF_ENDING)

    def check(self) -> None:
        """See that the file and its configuration are there, and that they fit if the file is here.

        Raises:
            WeightsError: One is missing, damaged or of another kind.
            OptionError: The package that reads it is missing, or it cannot be quantised so.
        """
        if not self.file.endswith((GGUF_ENDING, ".safetensors")):
            raise WeightsError(
                f"{self.part} file '{self.file}' is neither a .safetensors nor a .gguf file; "
                "convert it first (a torch pickle is never read)",
                code="bad-weights",
                path=self.part,
                hint="convert it to .safetensors first",
            )
        self.source.require(self.file)
        if isinstance(self.config, ModelSource):
            read_configuration(self.config, CONFIG)
            check_no_adapter(self.config)
        if self.is_gguf:
            self._check_gguf_wanted()
        elif self.wanted is not None:
            self._find_config(torch.bfloat16)
        if self.source.on_this_machine(self.file) is not None:
            self._check_content()

    def fetch(self) -> None:
        """Fetch the file and its configuration from the hub if they are not here yet."""
        self.source.get(self.file)
        if isinstance(self.config, ModelSource):
            self.config.get(CONFIG)

    def load(self, dtype: torch.dtype) -> Any:
        """Load it on the CPU, its weights in ``dtype`` or packed as they are stored.

        Raises:
            WeightsError: The file is damaged or does not fit its configuration.
        """
        self.fetch()
        self._check_content()
        with readable(self.source), quiet(), complete(self.name) as check:
            part = self._load(dtype)
            check({self.part: part})
        return part

    @property
    def configuration(self) -> dict[str, Any]:
        """What describes it; nothing yet if only a file can tell that is not here."""
        if isinstance(self.config, ModelSource):
            return self.config.read(CONFIG)
        if self.source.on_this_machine(self.file) is None:
            return {}
        with readable(self.source):
            return self.config(self._path)

    @property
    def is_unpacked(self) -> bool:
        """True if its weights are stored packed, and transformers unpacks them all."""
        return self.is_gguf and self.library == "transformers"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return str(self.source.path / self.file) if self.source.is_local else self._on_hub

    @property
    def fp8(self) -> torch.dtype | None:
        """What its weights are to be kept in: what they are stored in, if that has eight bits."""
        if (
            self.is_gguf
            or self.wanted is not None
            or self.source.on_this_machine(self.file) is None
        ):
            return None
        return FORMATS.get(self._header.main_format)

    @property
    def _on_hub(self) -> str:
        return f"{self.source.repository}/{self.file}" + (
            f"@{self.source.revision}" if self.source.revision else ""
        )

    @property
    def _path(self) -> Path:
        return self.source.get(self.file)

    @cached_property
    def _header(self) -> Header:
        return read_header(self._path)

    def _check_gguf_wanted(self) -> None:
        backend = None if self.wanted is None else self.wanted.backend
        allowed = (None, GGUF) if self.library == "diffusers" else (None, GGUF, FP8)
        if backend not in allowed:
            raise OptionError(
                f"'{self.name}' is quantised already, so quantization cannot be {backend} for "
                f"the {self.part}; leave the part out of quantization, or name another file",
                path="quantization",
                hint=f"leave {self.part} out of quantization",
            )

    def _check_content(self) -> None:
        header = self._header
        reads_scales = self.wanted is not None and self.wanted.backend == BFL
        if header.scales and not reads_scales:
            raise WeightsError(
                f"'{self.name}' holds FP8 weights with scales beside them ({header.scales[0]}), "
                f"which {self.library} does not read so; take a file without scales (often named "
                "fp8_e4m3fn), or GGUF",
                path=self.part,
                hint="take a file without scales, or GGUF",
            )
        with readable(self.source):
            if self.library == "diffusers" and not header.scales:
                self._refuse(*self._differences(header))
            elif self.is_gguf and header.kind not in T5_KINDS:
                self._refuse([f"it says that it is a {header.kind!r}"], 1)
            elif self.library == "transformers" and not self.is_gguf:
                self._refuse(*self._unknown(header))

    def _differences(self, header: Header) -> tuple[list[str], int]:
        before = prefixed(header.shapes, self.kind)
        shapes = {before + name: shape for name, shape in header.shapes.items()}
        return differences(shapes, self.kind, self.configuration)

    def _unknown(self, header: Header) -> tuple[list[str], int]:
        """Nothing if the file has any weight of the model; loading tells which are missing."""
        kind = getattr(import_module(self.library), self.kind)
        with torch.device("meta"):
            wanted = kind(self._config(kind)).state_dict()
        return ([] if wanted.keys() & header.shapes.keys() else list(wanted)), len(wanted)

    def _refuse(self, told: list[str], count: int) -> None:
        if told:
            raise WeightsError(
                f"'{self.name}': {len(told)} of {count} weights are not those of the {self.part} "
                f"that {self._described_by} describes (first: {told[0]}); name a file of the same "
                "model, or the model that it belongs to",
                path=self.part,
                hint="name a file of the same model, or the model that it belongs to",
            )

    def _config(self, kind: Any) -> Any:
        """The configuration object of a class of transformers."""
        return kind.config_class.from_pretrained(self._config_folder)

    @property
    def _described_by(self) -> str:
        return f"'{self.config.name}'" if isinstance(self.config, ModelSource) else "its own header"

    @property
    def _config_folder(self) -> Path:
        assert isinstance(self.config, ModelSource)  # transformers' parts have one
        return self.config.get(CONFIG).parent

    @contextmanager
    def _folder_with_config(self) -> Iterator[Path]:
        if isinstance(self.config, ModelSource):
            yield self._config_folder
            return
        with TemporaryDirectory() as folder:
            (Path(folder) / CONFIG).write_text(json.dumps(self.configuration))
            yield Path(folder)

    def _load(self, dtype: torch.dtype) -> Any:
        kind = getattr(import_module(self.library), self.kind)
        config = self._find_config(dtype)
        extra: dict[str, Any] = {} if config is None else {"quantization_config": config}
        if self.library == "diffusers":
            alone = prefixed(self._header.shapes, self.kind)
            with self._folder_with_config() as folder:
                return kind.from_single_file(
                    self._weights() if alone else str(self._path),
                    config=str(folder),
                    local_files_only=True,
                    dtype=dtype,
                    **extra,
                )
        if self.is_gguf:
            folder, extra = self._config_folder, {"gguf_file": str(self._path)}
        else:
            folder, extra["state_dict"] = None, self._weights()
        with _without_bar():
            return kind.from_pretrained(folder, config=self._config(kind), dtype=dtype, **extra)

    def _find_config(self, dtype: torch.dtype) -> Any:
        """The library's configuration that it is loaded with; None: none."""
        wanted = Wanted(GGUF) if self.is_gguf and self.wanted is None else self.wanted
        if wanted is None or self.is_unpacked:
            return None
        stored = wanted.backend in (GGUF, BFL)
        return find_config(wanted, self.library, dtype, stored=stored, keep=self.keep)

    def _weights(self) -> dict[str, Any]:
        """The weights by the names that the library knows."""
        from diffusers.loaders.single_file_utils import load_single_file_checkpoint

        before = prefixed(self._header.shapes, self.kind)
        weights: Any = load_single_file_checkpoint(str(self._path))
        return {before + name: weight for name, weight in weights.items()}


def _without_bar() -> AbstractContextManager[None]:
    """Keep transformers' reader of GGUF from drawing a bar; its settings do not switch it off."""
    import transformers.modeling_gguf_pytorch_utils as reader

    return patched_here(reader, "tqdm", lambda _: lambda tensors, **_: tensors)
