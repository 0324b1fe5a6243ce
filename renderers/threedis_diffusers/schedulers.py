"""The diffusers schedulers that work with a model, by name, and their settings.

An option is a name, or a mapping with the name and settings of diffusers; a setting that is not
given is as the model's files say.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from threedis_core.errors import OptionError
from threedis_core.suggest import did_you_mean
from threedis_core.values.problems import shown
from threedis_diffusers.model_files.sources import ModelSource

SCHEDULERS = (
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
"""Those that run on a Stable Diffusion scheduler config. Flow-matching, inverse and EDM ones do
not. A list of names, so that an option can be checked without importing diffusers."""


FLOW_SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "FlowMatchEulerDiscreteScheduler": {},
    "FlowMatchLCMScheduler": {},
    "UniPCMultistepScheduler": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
}
"""Those that run on FLUX.1: its pipelines give them their own noise levels, which others do not
take. Each with the settings that make it one of flow matching."""

Scheduler = str | dict[str, Any] | None
"""A name; {"name": name or None, **settings}; or None, the model's own."""


def resolve_scheduler(
    value: Scheduler, known: Sequence[str] = SCHEDULERS, family: str = "Stable Diffusion"
) -> Scheduler:
    """The class name that a name means; case and endings may be left out ("euler", "UniPC").

    Args:
        value: What a person wrote.
        known: The class names that will do.
        family: Whose they are.
    Raises:
        ValueError: No such scheduler, or a mapping that does not say which.
    """
    if isinstance(value, dict):
        name = value.get("name")
        return {**value, "name": None if name is None else resolve_scheduler(name, known, family)}
    if not isinstance(value, str):
        return value
    short = {_short(one): one for one in known}
    if _short(value) not in short:
        suggestion = did_you_mean(value, known) or did_you_mean(_short(value), short)
        raise ValueError(
            f"no {family} scheduler of diffusers has this name. Known: "
            f"{', '.join(known)}, or null for the model's own.{suggestion}"
        )
    return short[_short(value)]


def find_scheduler(
    asked: Scheduler,
    model: ModelSource,
    start: Callable[[Any], object],
    known: Mapping[str, Mapping[str, Any]] | None = None,
    family: str = "Stable Diffusion",
) -> Any:
    """The scheduler asked for, or a model's own one, as the model's files and the settings say.

    Args:
        asked: The option's value.
        model: Where its configuration is.
        start: Makes a scheduler ready for a run, on a copy: what it refuses is told now.
        known: The class names that will do, each with settings that it always has.
        family: Whose they are.
    Raises:
        OptionError: The scheduler cannot run on this model or machine, or not with these settings.
        WeightsError: The model has no scheduler.
    """
    config = model.read("scheduler/scheduler_config.json")
    made = make_scheduler(asked, config, known, family)
    with _refused(type(made).__name__):
        start(copy.deepcopy(made))
    return made


def make_scheduler(
    asked: Scheduler,
    config: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]] | None = None,
    family: str = "Stable Diffusion",
) -> Any:
    """The scheduler asked for, with a model's scheduler configuration.

    Args:
        asked: The option's value; a name of None is the class that ``config`` names.
        config: The model's scheduler_config.json.
        known: The class names that will do, each with settings that it always has.
        family: Whose they are.
    Raises:
        OptionError: The scheduler cannot run on this model or machine, or not with these settings.
    """
    import diffusers

    known = {key: {} for key in SCHEDULERS} if known is None else known
    settings = dict(asked) if isinstance(asked, dict) else {"name": asked}
    name = settings.pop("name", None) or str(config.get("_class_name"))
    if name not in known:
        raise OptionError(
            f"scheduler '{name}', the model's own, is none that works with a {family} "
            f"model; choose one of: {', '.join(known)}",
            path="scheduler",
        )
    with _refused(name):
        kind = getattr(diffusers, name)
        check_settings(kind, settings)
        return kind.from_config({**config, **known[name], **settings})


def check_settings(kind: type[Any], settings: Mapping[str, Any]) -> None:
    """See that a scheduler's class has these settings, and that their values are of the right kind.

    Raises:
        OptionError: One that it does not have, or a value of another kind.
    """
    taken = dict(inspect.signature(kind.__init__).parameters)
    del taken["self"]
    for name, value in settings.items():
        if name not in taken:
            raise OptionError(
                f"scheduler '{kind.__name__}' has no setting {shown(name)}. It knows: "
                f"{', '.join(sorted(taken))}.{did_you_mean(str(name), taken)}",
                code="unknown-field",
                path=f"scheduler.{name}",
                hint=did_you_mean(str(name), taken).strip(),
            )
        if (expected := _kind(taken[name].default)) not in ("", _kind(value)):
            raise OptionError(
                f"scheduler.{name} is {shown(value)}; expected {expected}, such as "
                f"{taken[name].default!r}, diffusers' default",
                code="wrong-value",
                path=f"scheduler.{name}",
            )


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "text" if isinstance(value, str) else ""


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """Turn what diffusers refuses into one clear line."""
    refusals = AttributeError, ImportError, ValueError, TypeError, NotImplementedError
    try:
        yield
    except refusals as error:
        if isinstance(error, OptionError):
            raise
        reason = " ".join(str(error).split())
        raise OptionError(
            f"scheduler '{name}' cannot be used with this model here: {reason}; choose "
            "another, other settings, or null for the model's own",
            path="scheduler",
        ) from error


def _short(name: str) -> str:
    short = name.lower()
    for ending in ("scheduler", "discrete", "multistep"):
        short = short.removesuffix(ending)
    return short
