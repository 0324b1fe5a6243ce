"""Load models without a trace in other threads.

While they build a model, the libraries below us replace parts of torch, and of themselves, for the
whole process:

- ``accelerate.init_empty_weights`` and peft's copy of it: ``torch.nn.Module.register_parameter``
  moves every new parameter to ``meta``. Two threads that leave it in the wrong order put it back
  for good: from then on no module of the process has weights.
- ``diffusers.models.modeling_utils.no_init_weights``: ``torch.nn.init`` does nothing.
- ``transformers.initialization.no_tie_weights`` and ``meta_device_safe_creation_ops``: no model
  ties its weights, and ``torch.linspace`` works on the CPU.

``in_own_thread`` gives the thread that loads these four as they are meant, and all other threads
what they had before. One thing stays: in a half-precision format both libraries set torch's default
number format while they build a model, which has no per-thread form.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn

from threedis_core.alone import loading_alone

PEFT = "peft.utils.integrations"
"""Where peft has its copy; it is imported when a LoRA is loaded."""


@contextmanager
def in_own_thread() -> Iterator[None]:
    """Load models inside: one thread of the process at a time, and no other thread notices.

    After an exception torch's default number format is what it was, too.
    """
    with loading_alone(), ExitStack() as stack:
        format_before = torch.get_default_dtype()
        for module, name, replacement in _library_patches():
            stack.enter_context(patched_here(module, name, _instead(replacement)))
        try:
            yield
        except BaseException:
            torch.set_default_dtype(format_before)  # diffusers leaves it behind
            raise


@contextmanager
def patched_here(
    owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Replace a function for this thread alone; all others call what was there before.

    Args:
        owner: The module or class that has it.
        name: What it is called there.
        make: Makes the function for this thread from the one that is there.
    """
    original, thread, inside = getattr(owner, name), threading.get_ident(), True
    own = make(original)

    def dispatch(*args: Any, **kwargs: Any) -> Any:
        here = inside and threading.get_ident() == thread
        return own(*args, **kwargs) if here else original(*args, **kwargs)

    try:
        setattr(owner, name, dispatch)
        yield
    finally:
        # Somebody may have put something else there, and put this back later: then it does nothing.
        inside = False
        if getattr(owner, name) is dispatch:
            setattr(owner, name, original)


def _library_patches() -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """The libraries' functions that change the process, and what does the same for one thread."""
    for name, function, replacement in (
        ("accelerate.big_modeling", "init_on_device", _parameters_on),
        ("diffusers.models.modeling_utils", "no_init_weights", _no_initial_values),
        ("transformers.initialization", "no_tie_weights", _no_tied_weights),
        ("transformers.initialization", "meta_device_safe_creation_ops", _linspace_on_cpu),
    ):
        yield import_module(name), function, replacement
    if peft := sys.modules.get(PEFT):
        yield peft, "_init_on_device", _parameters_on


def _instead(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda _: function


@contextmanager
def _parameters_on(device: torch.device, include_buffers: bool | None = None) -> Iterator[None]:
    """Put every new parameter on ``device``; with ``include_buffers``, every new tensor."""
    from accelerate.utils import parse_flag_from_env

    if include_buffers is None:
        include_buffers = parse_flag_from_env("ACCELERATE_INIT_INCLUDE_BUFFERS", False)
    if include_buffers:
        with device:
            yield
        return

    def make(register: Callable[..., None]) -> Callable[..., None]:
        def registered(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
            register(module, name, param)
            if param is not None and not _peft_wants_values():
                module._parameters[name] = _moved(param, device)

        return registered

    with patched_here(nn.Module, "register_parameter", make):
        yield


def _moved(param: nn.Parameter, device: torch.device) -> nn.Parameter:
    """The same kind of parameter on ``device``; what quantised kinds are made with stays."""
    noted = dict(vars(param))
    flags = {name: noted.pop(name) for name in ("_is_hf_initialized",) if name in noted}
    noted["requires_grad"] = param.requires_grad
    moved = type(param)(param.to(device), **noted)
    vars(moved).update(flags)
    return moved


def _peft_wants_values() -> bool:
    """True while peft asks for parameters with values all the same; it notes so on its function."""
    function = getattr(sys.modules.get(PEFT), "_init_on_device", None)
    return bool(getattr(function, "_skip", False))


@contextmanager
def _no_initial_values() -> Iterator[None]:
    """Leave new parameters without initial values."""
    from diffusers.models.modeling_utils import TORCH_INIT_FUNCTIONS

    with ExitStack() as stack:
        for name in TORCH_INIT_FUNCTIONS:
            stack.enter_context(patched_here(nn.init, name, _instead(_nothing)))
        yield


@contextmanager
def _no_tied_weights() -> Iterator[None]:
    """Leave the weights of new models of transformers untied."""
    from transformers import PreTrainedModel

    with patched_here(PreTrainedModel, "tie_weights", _instead(_nothing)):
        yield


@contextmanager
def _linspace_on_cpu() -> Iterator[None]:
    """Make ``torch.linspace`` work on the CPU where nothing else is said."""

    def make(linspace: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: linspace(*args, **{"device": "cpu", **kwargs})

    with patched_here(torch, "linspace", make):
        yield


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""
