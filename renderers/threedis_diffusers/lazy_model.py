"""Find a model, load it when it is first used, keep it, and give it to one caller at a time."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from traceback import clear_frames
from typing import Any, ClassVar, Generic, Self, TypeVar

from threedis_core.errors import RenderError, ThreeDISError
from threedis_core.files.printable import printable
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.progress import Progress, silent
from threedis_diffusers.machine_failures import machine_failures_told
from threedis_diffusers.model_files.sources import NotFetchedError
from threedis_diffusers.quiet import quiet

_log = logging.getLogger("threedis_core.models")

Model = TypeVar("Model")


class LazyModel(ABC, Generic[Model]):
    """The part of a backend that holds its model; stands before the interface among the bases.

    Attributes:
        name: What messages call the backend: the name it is registered by.
    """

    name: ClassVar[str]

    def __init__(self, options: Any) -> None:
        super().__init__(options)  # type: ignore[call-arg]  the interface's
        self._loaded: Model | None = None
        self._loader: Callable[[], Model] | None = None
        self._lock = threading.Lock()

    @property
    def is_loaded(self) -> bool:
        """True once the model is loaded, until ``close``."""
        return self._loaded is not None

    @abstractmethod
    def find(self) -> Callable[[], Model]:
        """Find and check everything that the model needs; loads no weights.

        Returns:
            What loads the model from what was found. It is called once at most.
        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """

    def check_model(self) -> None:
        """See that the model can be loaded; what was found is kept until it is, or until close.

        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """
        if self._loaded is None:
            self._find_once()

    def load(self) -> Model:
        """Load the model, once; the backend's work does so itself.

        One model of the process is loaded at a time, and other threads notice nothing of it.

        Raises:
            OptionError: An option that this machine or model cannot serve.
            WeightsError: The model is missing, unreadable or of another kind.
        """
        from threedis_diffusers.own_thread import in_own_thread  # brings torch

        if self._loaded is None:
            with in_own_thread(), quiet():
                loader = self._find_once()
                self._loader = None  # after a failure the files may be others
                source = getattr(getattr(self, "options", None), "model", "")
                _log.info("%s: loading '%s'", self.name, printable(str(source)))
                start = perf_counter()
                try:
                    with machine_failures_told(f"loading '{self.name}'"):
                        self._loaded = loader()
                except BaseException as error:
                    let_go(error)  # of what was loaded until then
                    raise
                _log.info("%s: loaded in %.2f seconds", self.name, perf_counter() - start)
        return self._loaded

    def download_commands(self) -> Sequence[str]:
        """What fetches exactly the files that are missing, as far as that is known."""
        try:
            return self.inspect().commands
        except ThreeDISError:  # which is told where it is looked for
            return ()

    def fetch(self) -> None:
        """Fetch what is missing, exactly, from the hub.

        Raises:
            WeightsError: A file cannot be fetched.
        """
        from threedis_diffusers.model_files.fetching import fetch_missing

        fetch_missing(self.inspect)

    def inspect(self) -> Inspection:
        """What the model needs, and what of it is there; see the interface."""
        return Inspection()

    def _find_once(self) -> Callable[[], Model]:
        """What loads the model, looked for if nobody did so yet."""
        from threedis_diffusers.own_thread import in_own_thread  # brings torch

        with in_own_thread(), quiet():  # importing a pipeline logs what it would like to have
            if self._loader is None:
                try:
                    self._loader = self.find()
                except NotFetchedError as error:
                    raise error.with_one_of(self.download_commands()) from error
            return self._loader

    @contextmanager
    def in_use(self, progress: Progress = silent) -> Iterator[Model]:
        """Yield the model, which nobody else gets meanwhile.

        Args:
            progress: Told when the model begins to load, and when it is there.

        Raises:
            RenderError: Somebody has it already.
        """
        if not self._lock.acquire(blocking=False):
            raise RenderError(f"this '{self.name}' backend is at work already; make another one")
        try:
            if self._loaded is None:
                progress("loading", 0, 1)
                self.load()
                progress("loading", 1, 1)
            yield self.load()
        finally:
            self._lock.release()

    def take_model(self, other: Self) -> None:
        """Take over the model that ``other`` has loaded, if it has; it has none then."""
        if other._loaded is not None:
            self._loaded, other._loaded = other._loaded, None

    def memory(self) -> int:
        """Bytes of the model's weights, wherever they are; 0 if it is not loaded."""
        if self._loaded is None:
            return 0
        from threedis_diffusers.weight_bytes import weight_bytes  # brings torch

        return weight_bytes(self._loaded)

    def close(self) -> None:
        """Free the model, and forget what was found."""
        had_model = self._loaded is not None
        self._loaded = self._loader = None
        if had_model:
            free_memory()


def let_go(error: BaseException | None) -> None:
    """Free what the frames that an error went through still hold."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    free_memory()


def free_memory() -> None:
    """Give back the memory of models that nobody has any more.

    The hooks of diffusers and accelerate tie a model into cycles, which only the collector frees.
    """
    gc.collect()
    torch = sys.modules.get("torch")  # where nobody has imported it, there is nothing to free
    if torch is None:
        return
    for kind in (torch.cuda, torch.mps, torch.xpu):
        if kind.is_available():
            kind.empty_cache()
