"""Find out what stands between a renderer and its first picture; loads no weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from threedis_core.errors import InputError, RenderError, ThreeDISError, WeightsError
from threedis_core.machine import Machine, look_at_machine
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.inspection import Inspection
from threedis_core.plugin.registrations import PluginFailure
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig, registered_name
from threedis_core.run.record.versions import versions_with


@dataclass(frozen=True)
class Examination:
    """One renderer and what it needs."""

    name: str
    inspection: Inspection


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Args:
        machine: Devices and memory.
        versions: Of ThreeDIS, Python and the libraries, by name.
        renderers: Each renderer that was examined.
        failures: Plugins that do not work.
    """

    machine: Machine
    versions: dict[str, str]
    renderers: tuple[Examination, ...]
    failures: tuple[PluginFailure, ...]

    def document(self) -> dict[str, Any]:
        """The report, JSON-ready; memory needs say whether they fit."""
        return {
            "devices": [asdict(device) for device in self.machine.devices],
            "versions": self.versions,
            "renderers": [self._renderer(examined) for examined in self.renderers],
            "failures": [
                {"plugin": str(failure.source), "reason": failure.reason}
                for failure in self.failures
            ],
        }

    def _renderer(self, examined: Examination) -> dict[str, Any]:
        found = examined.inspection
        memory = [
            asdict(need) | {"fits": self.machine.fits(need, found.device)} for need in found.memory
        ]
        return {"name": examined.name, "ready": found.ready, **asdict(found), "memory": memory}


def examine(config: RunConfig, registry: PluginRegistry) -> Report:
    """Examine the machine and the renderers of ``config``, with the options it gives them.

    Args:
        config: Whose renderers are examined; none: every one that is registered, presets too.
        registry: The installed plugins.
    Raises:
        InputError: An unknown name, or an option that does not fit.
    """
    names = config.renderers or {name: {} for name in registry.names("renderer")}
    examined = tuple(
        Examination(name, _inspect(registry, name, options)) for name, options in names.items()
    )
    sources = [source for name in names for source in registry.sources_of(registered_name(name))]
    return Report(look_at_machine(), versions_with(sources), examined, registry.failures)


def first_obstacle(examined: Examination) -> WeightsError | None:
    """Why a renderer is not ready, and what to do, in one line; None if it is."""
    found = examined.inspection
    if found.ready:
        return None
    if found.problems:
        return WeightsError(f"renderer '{examined.name}' is not ready: {found.problems[0]}")
    source, path = next(found.missing())
    others = sum(1 for _ in found.missing()) - 1
    more = f", and {others} more {'file is' if others == 1 else 'files are'}" if others else ""
    return WeightsError(
        f"renderer '{examined.name}' is not ready: '{path}' of '{source}'{more or ' is'} missing; "
        f"the report says how to get {'them' if others else 'it'}"
    )


def _inspect(registry: PluginRegistry, name: str, options: dict[str, Any]) -> Inspection:
    try:
        backend = registry.renderer(registered_name(name), options)
    except InputError:
        raise
    except ThreeDISError as error:  # a renderer whose plugin is broken stops no other
        return Inspection(problems=(str(error),))
    try:
        with failures_named(f"the inspection of renderer '{name}'"):
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
