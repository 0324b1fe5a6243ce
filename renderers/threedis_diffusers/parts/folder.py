"""A part of a pipeline in a folder of its own, as ``save_pretrained`` writes it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from threedis_diffusers.complete import complete
from threedis_diffusers.loading import variant
from threedis_diffusers.model_files.checks import WEIGHTS_STEM, fetch_part
from threedis_diffusers.model_files.sources import ModelSource
from threedis_diffusers.quiet import quiet
from threedis_diffusers.readable import readable


@dataclass(frozen=True)
class PipelinePart:
    """One part of a pipeline that comes from a place of its own, and whose files are there.

    Args:
        source: Where it is.
        kind: Its class.
        ending: The ending of its weights file.
        library: Whose class it is: "diffusers" or "transformers".
        stem: The name of its weights file without the ending.
        quantization: The library's configuration that quantises it; None: as its files are.
    """

    source: ModelSource
    kind: str
    ending: str
    library: str = "diffusers"
    stem: str = WEIGHTS_STEM
    quantization: Any = None

    @property
    def configuration(self) -> dict[str, Any]:
        """What describes it."""
        return self.source.read("config.json")

    def fetch(self) -> None:
        """Fetch its files from the hub as far as they are not here yet."""
        fetch_part(self.source, self.stem, self.ending)

    def load(self, dtype: torch.dtype) -> Any:
        """Load it on the CPU, its weights in the number format ``dtype`` if they are not quantised.

        Raises:
            WeightsError: A file is damaged or does not fit its configuration.
        """
        folder = fetch_part(self.source, self.stem, self.ending)
        name = "/".join(filter(None, (self.source.name, self.source.subfolder)))
        arguments = {} if self.quantization is None else {"quantization_config": self.quantization}
        with readable(self.source), quiet(), complete(name) as check:
            part = getattr(import_module(self.library), self.kind).from_pretrained(
                folder,
                variant=variant([self.ending]),
                dtype=dtype,
                use_safetensors=True,
                **arguments,
            )
            check({self.kind: part})
        return part
