"""The diffusers schedulers that work with a Stable Diffusion model, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from threedis_core.errors import OptionError
from threedis_core.suggest import did_you_mean
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


def resolve_scheduler(name: str) -> str:
    """The class name that ``name`` means; case and endings may be left out ("euler", "UniPC").

    Raises:
        ValueError: No such scheduler.
    """
    short = {_short(known): known for known in SCHEDULERS}
    if _short(name) not in short:
        suggestion = did_you_mean(name, SCHEDULERS) or did_you_mean(_short(name), short)
        raise ValueError(
            f"no Stable Diffusion scheduler of diffusers has this name. Known: "
            f"{', '.join(SCHEDULERS)}, or null for the model's own.{suggestion}"
        )
    return short[_short(name)]


def find_scheduler(name: str | None, model: ModelSource) -> Any:
    """A scheduler of class ``name``, or a model's own one, as the model's files set it.

    Raises:
        OptionError: The scheduler cannot run on this model or machine.
        WeightsError: The model has no scheduler.
    """
    return make_scheduler(name, model.read("scheduler/scheduler_config.json"))


def make_scheduler(name: str | None, config: Mapping[str, Any]) -> Any:
    """A scheduler of class ``name`` with a model's scheduler configuration.

    Args:
        name: Class name, or None for the class that ``config`` names.
        config: The model's scheduler_config.json.
    Raises:
        OptionError: The scheduler cannot run on this model or machine.
    """
    import diffusers

    name = name or str(config.get("_class_name"))
    if name not in SCHEDULERS:
        raise OptionError(
            f"scheduler '{name}', the model's own, is none that works with a Stable Diffusion "
            f"model; choose one of: {', '.join(SCHEDULERS)}"
        )
    try:
        return getattr(diffusers, name).from_config(dict(config))
    except (AttributeError, ImportError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(
            f"scheduler '{name}' cannot be used with this model here: {reason}; choose "
            "another or null for the model's own"
        ) from error


def _short(name: str) -> str:
    short = name.lower()
    for ending in ("scheduler", "discrete", "multistep"):
        short = short.removesuffix(ending)
    return short
