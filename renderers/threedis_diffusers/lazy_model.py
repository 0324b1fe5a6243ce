"""Load a model when it is first used, keep it, and give it to one caller at a time."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Generic, TypeVar

import torch

from threedis_core.errors import RenderError
from threedis_diffusers.quiet import quiet

Model = TypeVar("Model")


class LazyModel(ABC, Generic[Model]):
    """The part of a backend that holds its model; stands before the interface among the bases."""

    name: ClassVar[str]

    def __init__(self, options: Any) -> None:
        super().__init__(options)  # type: ignore[call-arg]  the interface's
        self._loaded: Model | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def load_checked(self) -> Model:
        """Check everything that can be wrong, then load the model; called once.

        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """

    def load(self) -> Model:
        """Load the model, once; the backend's work does so itself.

        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """
        if self._loaded is None:
            with quiet():  # importing a pipeline logs what it would like to have installed
                self._loaded = self.load_checked()
        return self._loaded

    @contextmanager
    def in_use(self) -> Iterator[Model]:
        """Yield the model, which nobody else gets meanwhile.

        Raises:
            RenderError: Somebody has it already.
        """
        if not self._lock.acquire(blocking=False):
            raise RenderError(f"this '{self.name}' backend is at work already; make another one")
        try:
            yield self.load()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Free the model."""
        self._loaded = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
