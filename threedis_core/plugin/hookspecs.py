"""The hooks a plugin may implement. Implement any of them in the module your entry point names.

Every hook is called once, when plugins are first listed. Registering must stay cheap: a class is
named by a string, ``"package.module:ClassName"``, and imported only when it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from threedis_core.plugin.registrations import TrainedOn

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("threedis")
hookimpl = pluggy.HookimplMarker("threedis")


class Register(Protocol):
    """Register the class ``target`` ("package.module:ClassName") as ``name``."""

    def __call__(self, name: str, target: str, summary: str = "") -> None: ...


class RegisterPreset(Protocol):
    """Register ``name`` as ``backend`` (a registered name) with ``options`` already set.

    ``trained_on`` says what its model has seen.
    """

    def __call__(
        self,
        name: str,
        backend: str,
        options: Mapping[str, Any],
        summary: str = "",
        trained_on: TrainedOn | None = None,
    ) -> None: ...


@hookspec
def threedis_register_renderers(register: Register) -> None:
    """Register subclasses of ``RenderBackend``."""


@hookspec
def threedis_register_depth_models(register: Register) -> None:
    """Register subclasses of ``DepthModel``."""


@hookspec
def threedis_register_depth_estimators(register: Register) -> None:
    """Register subclasses of ``DepthEstimator``."""


@hookspec
def threedis_register_region_refiners(register: Register) -> None:
    """Register subclasses of ``RegionRefiner``."""


@hookspec
def threedis_register_instance_detectors(register: Register) -> None:
    """Register subclasses of ``InstanceDetector``."""


@hookspec
def threedis_register_metrics(register: Register) -> None:
    """Register subclasses of ``Metric``."""


@hookspec
def threedis_register_benchmarks(register: Register) -> None:
    """Register subclasses of ``Benchmark``."""


@hookspec
def threedis_register_presets(register: RegisterPreset) -> None:
    """Register presets of backends of any kind."""


@hookspec
def threedis_register_commands(app: typer.Typer, bench: typer.Typer) -> None:
    """Add commands to the ``threedis`` command line, or to its ``threedis bench`` group."""
