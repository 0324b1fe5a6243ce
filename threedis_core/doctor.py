"""Find out what stands between a backend and its first result; loads no weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from threedis_core.errors import InputError, RenderError, ThreeDISError, WeightsError
from threedis_core.machine import Machine, look_at_machine
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.interfaces import (
    Backend,
    DepthEstimator,
    DepthModel,
    RegionRefiner,
    RenderBackend,
)
from threedis_core.plugin.registrations import Kind, PluginFailure
from threedis_core.plugin.registry import NO_OPTIONS, PluginRegistry
from threedis_core.run.config import RunConfig, registered_name
from threedis_core.run.record.versions import versions_with

SECTIONS: Mapping[Kind, str] = MappingProxyType(
    {
        "renderer": "renderers",
        "depth model": "depth_models",
        "region refiner": "region_refiners",
        "depth estimator": "depth_estimators",
    }
)
"""What the doctor examines, and where the report's document tells of it."""
INTERFACES: Mapping[str, type[Backend]] = MappingProxyType(
    {one.kind: one for one in (RenderBackend, DepthModel, RegionRefiner, DepthEstimator)}
)


@dataclass(frozen=True)
class Examination:
    """One backend and what it needs."""

    name: str
    inspection: Inspection
    kind: Kind = "renderer"


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Args:
        machine: Devices and memory.
        versions: Of ThreeDIS, Python and the libraries, by name.
        examined: Each backend that was examined.
        failures: Plugins that do not work.
    """

    machine: Machine
    versions: dict[str, str]
    examined: tuple[Examination, ...]
    failures: tuple[PluginFailure, ...]

    def of(self, kind: Kind) -> tuple[Examination, ...]:
        """Those of one kind."""
        return tuple(one for one in self.examined if one.kind == kind)

    @property
    def renderers(self) -> tuple[Examination, ...]:
        """The renderers among them."""
        return self.of("renderer")

    def document(self) -> dict[str, Any]:
        """The report, JSON-ready; memory needs say whether they fit."""
        return {
            "devices": [asdict(device) for device in self.machine.devices],
            "versions": self.versions,
            **{key: [self._told(one) for one in self.of(kind)] for kind, key in SECTIONS.items()},
            "failures": [
                {"plugin": str(failure.source), "reason": failure.reason}
                for failure in self.failures
            ],
        }

    def _told(self, examined: Examination) -> dict[str, Any]:
        found = examined.inspection
        memory = [
            asdict(need) | {"fits": self.machine.fits(need, found.device)} for need in found.memory
        ]
        return {"name": examined.name, "ready": found.ready, **asdict(found), "memory": memory}


def examine(config: RunConfig, registry: PluginRegistry, estimators: Sequence[str] = ()) -> Report:
    """Examine the machine and the backends of ``config``, with the options it gives them.

    Args:
        config: Whose renderers, depth model and region refiner are examined.
        registry: The installed plugins.
        estimators: Names of depth estimators, which no config has. Where these and ``config`` name
            nothing, every backend that is registered is examined, presets too.
    Raises:
        InputError: An unknown name, or an option that does not fit.
    """
    named = _named(config, estimators) or _every(registry)
    examined = tuple(
        Examination(name, _inspect(registry, kind, name, options), kind)
        for kind, name, options in named
    )
    sources = [
        source for _, name, _ in named for source in registry.sources_of(registered_name(name))
    ]
    return Report(look_at_machine(), versions_with(sources), examined, registry.failures)


def is_named(config: RunConfig, estimators: Sequence[str]) -> bool:
    """True if there is anything in particular to examine."""
    return bool(_named(config, estimators))


Named = tuple[Kind, str, Mapping[str, Any]]
"""The kind, the name and the options of a backend."""


def _named(config: RunConfig, estimators: Sequence[str]) -> list[Named]:
    """The backends that somebody asks for."""
    named: list[Named] = [("renderer", *one) for one in config.renderers.items()]
    if (model := config.depth_model) is not None:
        named.append(("depth model", model.name, model.options))
    if (refiner := config.region_refiner) != RunConfig().region_refiner:
        named.append(("region refiner", refiner.name, refiner.options))
    return named + [("depth estimator", name, NO_OPTIONS) for name in estimators]


def _every(registry: PluginRegistry) -> list[Named]:
    return [(kind, name, NO_OPTIONS) for kind in SECTIONS for name in registry.names(kind)]


def first_obstacle(examined: Examination) -> WeightsError | None:
    """Why a backend is not ready, and what to do, in one line; None if it is."""
    found = examined.inspection
    if found.ready:
        return None
    if found.problems:
        return WeightsError(f"{examined.kind} '{examined.name}' is not ready: {found.problems[0]}")
    source, path = next(found.missing())
    others = sum(1 for _ in found.missing()) - 1
    more = f", and {others} more {'file is' if others == 1 else 'files are'}" if others else ""
    who = f"{examined.kind} '{examined.name}'"
    return WeightsError(
        f"{who} is not ready: '{path}' of '{source}'{more or ' is'} missing; "
        f"the report says how to get {'them' if others else 'it'}"
    )


def _inspect(
    registry: PluginRegistry, kind: Kind, name: str, options: Mapping[str, Any]
) -> Inspection:
    try:
        backend = registry.choose(INTERFACES[kind], registered_name(name), options).backend
    except InputError:
        raise
    except ThreeDISError as error:  # one whose plugin is broken stops no other
        return Inspection(problems=(str(error),))
    try:
        with failures_named(f"the inspection of {kind} '{name}'"):
            return _checked(backend.inspect())
    except ThreeDISError as error:
        return Inspection(problems=(str(error),))


def _checked(found: object) -> Inspection:
    if not isinstance(found, Inspection):
        raise RenderError(f"it returned {type(found).__name__}; expected an Inspection")
    json.dumps(asdict(found))  # what cannot be written cannot be reported
    return found


def recommended(machine: Machine, inspection: Inspection) -> str | None:
    """The roomiest way to place the model that fits, by its name; None if none does."""
    fitting = (need.offload for need in inspection.memory if machine.fits(need, inspection.device))
    return next(fitting, None)
