"""What a render could leave behind: patches in torch modules, and moved random generators."""

from __future__ import annotations

import random
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np

Traces = dict[str, dict[str, object]]
"""Per owner (a module, a class) what it has, by name."""
DEEPEST = 6
"""How far below the backend models are looked for: attribute of attribute, or item of list."""
PLAIN = (bool, int, float, str, bytes, type(None))
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBALS = ("torch.nn.functional", "torch.nn.modules.module")
"""Modules whose functions a hook may be tempted to replace."""


def traces(backend: object) -> Traces:
    """What lies in the torch modules that ``backend`` holds, by its owner; empty without any.

    Hooks, attention processors, functions that hide a method, switches, weights that were written
    into, the methods of their classes, and torch's own functions.
    """
    found: Traces = {}
    kinds: set[type] = set()
    for path, owner in _owners(backend):
        if _is_module(owner):
            for name, module in owner.named_modules():
                kinds |= set(type(module).__mro__)
                found[f"{path}.{name}" if name else path] = _of_module(module)
        elif _library(owner) == "diffusers":  # a pipeline, a scheduler
            kinds |= set(type(owner).__mro__)
            found[path] = _callables(cast("dict[str, object]", vars(owner)))
    if not any(_is_module(owner) for _, owner in _owners(backend)):
        return {}
    for kind in kinds - {object}:
        found[f"{kind.__module__}.{kind.__qualname__}"] = _callables(vars(kind))
    for name in GLOBALS:
        if name in sys.modules:
            found[name] = _callables(vars(sys.modules[name]))
    return found


def differences(before: Traces, after: Traces) -> list[str]:
    """Where two snapshots of the same owners differ.

    Functions and processors are told apart by identity, all else by value.
    """
    nothing = object()
    return sorted(
        f"{owner}.{name}"
        for owner in before.keys() & after.keys()
        for name in before[owner].keys() | after[owner].keys()
        if not _alike(before[owner].get(name, nothing), after[owner].get(name, nothing))
    )


@contextmanager
def generators_seeded(seed: int) -> Generator[None]:
    """Seed the generators that belong to the whole process, inside; then give them back."""
    before = generator_states()
    torch = sys.modules.get("torch")
    random.seed(seed)
    np.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before["random"])
        np.random.set_state(before["numpy.random"])
        if torch is not None:
            torch.set_rng_state(before["torch"])


def generator_states() -> dict[str, Any]:
    """The states of the generators that belong to the whole process, by their library."""
    states: dict[str, Any] = {"random": random.getstate(), "numpy.random": np.random.get_state()}
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state()
    return states


def _owners(backend: object) -> Iterator[tuple[str, Any]]:
    """Torch modules, pipelines and schedulers below a backend, and where they are."""
    waiting: list[tuple[str, Any, int]] = [("backend", backend, 0)]
    seen: set[int] = set()
    while waiting:
        path, thing, depth = waiting.pop()
        if id(thing) in seen or depth > DEEPEST:
            continue
        seen.add(id(thing))
        if _is_module(thing) or hasattr(thing, "__dict__"):
            yield path, thing
        if not _is_module(thing):
            waiting += [(path + key, item, depth + 1) for key, item in _below(thing)]


def _below(thing: object) -> list[tuple[str, Any]]:
    """What a container or an object holds, and how it is reached."""
    if isinstance(thing, type | ModuleType | FunctionType | MethodType):
        return []
    if isinstance(thing, Mapping):
        items = cast("Mapping[object, Any]", thing)
        return [(f"[{key!r}]", item) for key, item in items.items()]
    if isinstance(thing, list | tuple | set | frozenset):
        return [(f"[{n}]", item) for n, item in enumerate(cast("Iterable[Any]", thing))]
    attributes: dict[str, Any] = getattr(thing, "__dict__", {})
    return [(f".{key}", item) for key, item in attributes.items()]


def _is_module(thing: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def _of_module(module: Any) -> dict[str, object]:
    """What of one module, its children aside, a render has to leave as it was."""
    # transformers keeps switches of its own, and hooks into its layers, from the first call on.
    own = _library(module) == "transformers"
    attributes = cast("dict[str, object]", vars(module))
    found = _callables(attributes)
    for name, value in attributes.items():
        if isinstance(value, PLAIN) and not (own and name.startswith("_")):
            found[name] = value
    for name in HOOKS:
        hooks = getattr(module, name).items()
        found |= {f"{name}[{key}]": hook for key, hook in hooks if not (own and _is_theirs(hook))}
    for name, tensor in module.named_parameters(recurse=False):
        found[name] = (tuple(tensor.shape), tensor.dtype, tensor._version)
    found["children"] = tuple(name for name, _ in module.named_children())
    return found


def _library(thing: object) -> str:
    return type(thing).__module__.partition(".")[0]


def _is_theirs(hook: object) -> bool:
    return getattr(hook, "__module__", "").startswith("transformers.")


def _callables(attributes: Mapping[str, object]) -> dict[str, object]:
    """What can be called among attributes: methods that were replaced, processors."""
    return {
        name: value
        for name, value in attributes.items()
        if callable(value) and not isinstance(value, type) and not _is_module(value)
    }


def _alike(one: Any, other: Any) -> bool:
    plain = type(one) is type(other) and (type(one) in PLAIN or type(one) is tuple)
    return one is other or (plain and bool(one == other))
