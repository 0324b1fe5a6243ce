"""Checks that both conformance suites make."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakSet

from pydantic import ValidationError

from threedis_core.plugin.interfaces import BackendOptions
from threedis_core.plugin.progress import Progress

HEAVY = frozenset({"torch", "diffusers", "transformers"})

SCRIPT = """
import importlib, sys
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.registrations import PluginSource
PluginRegistry().add(importlib.import_module(sys.argv[1]), PluginSource("conformance"))
print("\\n".join(sys.modules))
"""


def check_unknown_option_is_refused(options: type[BackendOptions]) -> None:
    """Fail unless the model of a backend's options refuses names that it does not know."""
    try:
        options.model_validate({"no_such_option": 1})
    except ValidationError as error:
        if any(problem["type"] == "extra_forbidden" for problem in error.errors()):
            return
    raise AssertionError(f"{options.__name__} takes an option it does not know; forbid extras")


class StoppedError(Exception):
    """What a progress raises to end the work."""


def check_it_ends_where_progress_raises(work: Callable[[Progress], object]) -> None:
    """Fail unless ``work`` lets out what its progress raises, and does no step after that.

    This is how a run is cancelled.
    """
    calls: list[int] = []

    def stop(stage: str, done: int, total: int) -> None:
        calls.append(done)
        raise StoppedError

    try:
        work(stop)
    except StoppedError:
        if len(calls) == 1:
            return
        raise AssertionError(
            f"it took {len(calls) - 1} more steps after progress had raised"
        ) from None
    except Exception as error:
        raise AssertionError(f"progress raised StoppedError, but {error!r} came out") from error
    raise AssertionError(
        "it went on to the end although progress had raised"
        if calls
        else "it never called progress, so that nobody can end it; call it after every step"
    )


@contextmanager
def check_nothing_is_loaded(what: str) -> Generator[None]:
    """Fail if the block leaves a torch model behind, in memory or in the backend."""
    made: WeakSet[object] = WeakSet()
    with _noted(made):
        yield
    if made:
        gc.collect()
    if made:
        raise AssertionError(f"{what} loads a model; leave that to the first render")


@contextmanager
def _noted(made: WeakSet[object]) -> Generator[None]:
    """Put the torch modules that are made inside into ``made``."""
    try:
        torch: Any = import_module("torch")  # the block may bring it
    except ImportError:
        yield
        return
    own = torch.nn.Module.__init__

    def note(module: Any, *arguments: Any, **options: Any) -> None:
        own(module, *arguments, **options)
        made.add(module)

    torch.nn.Module.__init__ = note
    try:
        yield
    finally:
        torch.nn.Module.__init__ = own


def check_discovery_is_light(plugin_module: str) -> None:
    """Fail unless ``plugin_module`` registers, in a fresh process, without a model library."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, plugin_module],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    if finished.returncode != 0:
        raise AssertionError(f"{plugin_module} cannot be registered: {finished.stderr[-2000:]}")
    heavy = HEAVY & set(finished.stdout.split())
    if heavy:
        raise AssertionError(f"registering {plugin_module} imports {', '.join(sorted(heavy))}")
