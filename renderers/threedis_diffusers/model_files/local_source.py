"""Look for a model's files on this machine only, and note what is missing instead of stopping."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threedis_diffusers.model_files.published import PUBLISHED
from threedis_diffusers.model_files.sources import ENDINGS, HALF, SHARD_INDEX, ModelSource

INDEX = "model_index.json"


@dataclass(frozen=True)
class LocalSource(ModelSource):
    """A source for the checks before loading that notes what they ask for.

    Args:
        stand_in: What ``model_index.json`` is taken to say where it is missing.
        seen: Where each file that is needed is, by its path inside; None: it is missing.
    """

    stand_in: dict[str, Any] = field(default_factory=dict[str, Any])
    seen: dict[str, Path | None] = field(default_factory=dict[str, "Path | None"])

    def has(self, file: str) -> bool:
        """True if ``file`` is here; then it is one that is needed."""
        path = self.on_this_machine(file)
        if path is not None:
            self.seen[self._inside(file)] = path
        return path is not None

    def require(self, file: str) -> None:
        """Note that ``file`` is needed, here or not.

        Raises:
            WeightsError: The source is neither a folder that is there nor a hub id.
        """
        if not self.has(file):
            if not self.is_local:
                self._check_repository(file)
            self.seen[self._inside(file)] = None

    def find(self, stem: str) -> str:
        """Note the weights file of ``stem``: the one that is here, or else the published one."""
        for ending in self.endings:
            if self.has(stem + ending):
                return ending
        known = PUBLISHED.get(self.repository)
        part = self._inside(stem).rpartition("/")[0]
        if known is not None and part in known.sharded:
            self.require(stem + SHARD_INDEX)
            self.require(f"{stem}-*.safetensors")
        elif known is not None and self.half and part in known.halved:
            self.require(stem + HALF)
            return HALF
        else:
            self.require(stem + ENDINGS[0])
        return ENDINGS[0]

    def read(self, file: str) -> dict[str, Any]:
        """Note and read ``file``; where it is missing, the stand-in or an empty object."""
        self.require(file)
        path = self.on_this_machine(file)
        if path is not None:
            return self._parse(file, path)
        return self.stand_in if file == INDEX else {}

    def safetensors(self) -> list[str]:
        """The names of the safetensors files at the top: those here, else the published ones."""
        if self.is_local:
            return super().safetensors()
        known = PUBLISHED.get(self.repository)
        return self.cached_safetensors() or (sorted(known.files) if known is not None else [])
