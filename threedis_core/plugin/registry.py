"""Find plugins, keep what they register, and make backends by name.

Nothing a plugin registers is imported before it is used; a plugin that does not work is kept
in ``PluginRegistry.failures`` and stops no other.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

import pluggy

from threedis_core.alone import loading_alone
from threedis_core.errors import PluginError, UnknownPluginError
from threedis_core.files.printable import printable
from threedis_core.plugin import hookspecs
from threedis_core.plugin.failures import (
    BACKEND_PATIENCE,
    failures_named,
    reason_of,
    waiting_named,
)
from threedis_core.plugin.registrations import (
    Kind,
    PluginFailure,
    PluginSource,
    Preset,
    Registration,
    Staging,
    TrainedOn,
    iterate_presets,
)
from threedis_core.suggest import did_you_mean

if TYPE_CHECKING:
    from threedis_core.plugin.interfaces import (
        Backend,
        DepthEstimator,
        DepthModel,
        RegionRefiner,
        RenderBackend,
    )
    from threedis_core.plugin.judging.interfaces import InstanceDetector, Metric

NOTHING_KNOWN = TrainedOn()
_log = logging.getLogger("threedis_core.plugins")

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})

BackendT = TypeVar("BackendT", bound="Backend")


@dataclass(frozen=True, eq=False)
class Chosen(Generic[BackendT]):
    """A backend that was chosen by name.

    Args:
        name: The name, a preset's or its own.
        backend: The backend, which has loaded nothing yet.
        sources: The plugins that have a part in it: a preset's, and the backend's own.
        trained_on: What its model has seen.
    """

    name: str
    backend: BackendT
    sources: tuple[PluginSource, ...]
    trained_on: TrainedOn = NOTHING_KNOWN


class PluginRegistry:
    """The backends of every kind, and the presets, of some plugins.

    Names are unique across all of them, so that a preset can name any backend.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("threedis")
        self._manager.add_hookspecs(hookspecs)
        self._entries: dict[str, Registration | Preset] = {}
        self._sources: list[tuple[object, PluginSource]] = []
        self._failures: list[PluginFailure] = []

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """The plugins that do not work, in the order they were tried."""
        return tuple(self._failures)

    @property
    def plugins(self) -> tuple[tuple[object, PluginSource], ...]:
        """The plugins that work, with where they come from."""
        return tuple(self._sources)

    def report_failure(self, source: PluginSource, reason: str, name: str = "") -> None:
        """Keep a plugin's failure for ``threedis plugins`` to show.

        Args:
            source: The plugin.
            reason: What is wrong.
            name: The name that it lost to another plugin, if that is what is wrong.
        """
        failure = PluginFailure(source, " ".join(reason.split()), name)
        self._failures.append(failure)
        _log.info("plugin %s: %s", source, printable(failure.reason, 2000))

    def add(self, plugin: object, source: PluginSource) -> None:
        """Add a plugin: a module, or any object with hook implementations.

        A name that is taken is left out and reported; an error leaves the whole plugin out.

        Raises:
            PluginError: It implements an unknown hook or none, a name it registers is bad, or
                registering raised.
        """
        if any(plugin is other for other, _ in self._sources):
            raise PluginError("the same plugin is already registered under another entry point")
        staging = Staging(source, self._entries)
        try:
            self._manager.register(plugin)
            self._manager.check_pending()
            if not self._manager.get_hookcallers(plugin):
                raise PluginError(
                    "it implements no hook; mark its functions with threedis_core.hookimpl"
                )
            self._call_registration_hooks(plugin, staging)
        except BaseException as error:  # a plugin may raise anything
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(_reason(error)) from error
        self._entries.update(staging.entries)
        self._sources.append((plugin, source))
        for name, reason in staging.lost.items():
            self.report_failure(source, reason, name)

    def call(self, plugin: object, hook: str, **arguments: Any) -> None:
        """Call one plugin's implementation of ``hook``, if it has one."""
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def _call_registration_hooks(self, plugin: object, staging: Staging) -> None:
        for kind in get_args(Kind):
            hook = f"threedis_register_{kind.replace(' ', '_')}s"
            self.call(plugin, hook, register=partial(staging.register, kind))
        self.call(plugin, "threedis_register_presets", register=staging.register_preset)

    def drop_broken_presets(self) -> None:
        """Report and forget the presets whose backend is not there.

        Called once all plugins are added, for they may come in any order.
        """
        presets = [entry for entry in self._entries.values() if isinstance(entry, Preset)]
        for preset in presets:
            if not isinstance(self._entries.get(preset.backend), Registration):
                del self._entries[preset.name]
                self.report_failure(
                    preset.source,
                    f"preset '{preset.name}' names the backend '{preset.backend}', "
                    "which is not registered",
                )

    def presets(self) -> tuple[Preset, ...]:
        """All presets, by name."""
        return tuple(sorted(iterate_presets(self._entries), key=lambda preset: preset.name))

    def registrations(self, kind: Kind | None = None) -> tuple[Registration, ...]:
        """All registered classes, or those of one kind, by name."""
        found = [entry for entry in self._entries.values() if isinstance(entry, Registration)]
        return tuple(
            sorted(
                (entry for entry in found if kind in (None, entry.kind)),
                key=lambda entry: (entry.kind, entry.name),
            )
        )

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Every name of a kind that can be chosen, presets included, in order."""
        return tuple(sorted(name for name in self._entries if self._resolve(name).kind == kind))

    def source_of(self, name: str) -> PluginSource:
        """The plugin whose code runs when ``name`` is chosen; for a preset its backend's."""
        return self._resolve(name).source

    def sources_of(self, name: str) -> tuple[PluginSource, ...]:
        """Every plugin that has a part in ``name``: a preset's own, and its backend's."""
        return (self._entries[name].source, self._resolve(name).source)

    def renderer(self, name: str, options: Mapping[str, Any] = NO_OPTIONS) -> RenderBackend:
        """Make a renderer; loads no weights.

        Args:
            name: A renderer's or a preset's name.
            options: Its options; they override a preset's.
        Raises:
            UnknownPluginError: Nothing of that name is registered.
            OptionError: An unknown option, or a value that does not fit.
            PluginError: The class cannot be imported, is no ``RenderBackend``, or cannot be made.
        """
        from threedis_core.plugin.interfaces import RenderBackend

        return self.choose(RenderBackend, name, options).backend

    def depth_model(self, name: str, options: Mapping[str, Any] = NO_OPTIONS) -> DepthModel:
        """Make a depth model; arguments and errors as for ``renderer``."""
        from threedis_core.plugin.interfaces import DepthModel

        return self.choose(DepthModel, name, options).backend

    def depth_estimator(self, name: str, options: Mapping[str, Any] = NO_OPTIONS) -> DepthEstimator:
        """Make a depth estimator; arguments and errors as for ``renderer``."""
        from threedis_core.plugin.interfaces import DepthEstimator

        return self.choose(DepthEstimator, name, options).backend

    def region_refiner(self, name: str, options: Mapping[str, Any] = NO_OPTIONS) -> RegionRefiner:
        """Make a region refiner; arguments and errors as for ``renderer``."""
        from threedis_core.plugin.interfaces import RegionRefiner

        return self.choose(RegionRefiner, name, options).backend

    def instance_detector(
        self, name: str, options: Mapping[str, Any] = NO_OPTIONS
    ) -> InstanceDetector:
        """Make an instance detector; arguments and errors as for ``renderer``."""
        from threedis_core.plugin.judging.interfaces import InstanceDetector

        return self.choose(InstanceDetector, name, options).backend

    def metric(self, name: str, options: Mapping[str, Any] = NO_OPTIONS) -> Metric:
        """Make a metric; arguments and errors as for ``renderer``."""
        from threedis_core.plugin.judging.interfaces import Metric

        return self.choose(Metric, name, options).backend

    def _resolve(self, name: str) -> Registration:
        entry = self._entries[name]
        if isinstance(entry, Preset):
            backend = self._entries.get(entry.backend)
            if not isinstance(backend, Registration):
                raise PluginError(
                    f"preset '{name}' of {entry.source} names the backend '{entry.backend}', "
                    "which is not registered"
                )
            return backend
        return entry

    def choose(
        self, interface: type[BackendT], name: str, options: Mapping[str, Any] = NO_OPTIONS
    ) -> Chosen[BackendT]:
        """Make any backend, and say which plugins have a part in it; loads no weights.

        Args:
            interface: ``RenderBackend``, ``DepthModel``, ``Metric`` or another one.
            name: A backend's or a preset's name.
            options: Its options; they override a preset's.
        Raises:
            UnknownPluginError: Nothing of that name is registered for the interface.
            OptionError: An unknown option, or a value that does not fit.
            PluginError: The class cannot be imported, is of another kind, or cannot be made.
        """
        from threedis_core.plugin.options import validate_options

        kind = interface.kind
        if name not in self._entries or self._resolve(name).kind != kind:
            hint = did_you_mean(name, self.names(kind)).strip()
            raise UnknownPluginError(self._unknown(kind, name), hint=hint)
        entry, registration = self._entries[name], self._resolve(name)
        sources = self.sources_of(name)
        backend_class = _load_class(registration, interface)
        preset_options = entry.options if isinstance(entry, Preset) else NO_OPTIONS
        who = f"{kind} '{name}'"
        # Checking the options and making it run the plugin's code.
        with failures_named(f"{who} of {registration.source}", "cannot be made", PluginError):
            valid = validate_options(backend_class.Options, {**preset_options, **options}, who)
            backend = backend_class(valid)
        own = entry.trained_on if isinstance(entry, Preset) else None
        return Chosen(name, backend, sources, own or backend.trained_on)

    def _unknown(self, kind: Kind, name: str) -> str:
        known = self.names(kind)
        message = f"Unknown {kind} '{name}'. Installed: {', '.join(known) or 'none'}."
        message += did_you_mean(name, known)
        if self._failures:
            message += f" ({len(self._failures)} plugin(s) failed to load: see 'threedis plugins')"
        return message


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, pluggy.PluginValidationError) else reason_of(error)


def _load_class(registration: Registration, interface: type[BackendT]) -> type[BackendT]:
    """Import a registration's class and check that it is what it was registered as."""
    from threedis_core.plugin.interfaces import BackendOptions

    what = f"{registration.kind} '{registration.name}' of {registration.source}"
    module_name, _, class_name = registration.target.partition(":")
    with (
        failures_named(what, "cannot be imported", PluginError),
        waiting_named(f"{what} ({module_name}) to be imported", BACKEND_PATIENCE),
        loading_alone(),  # model libraries do not stand being imported by two threads at once
    ):
        found: object = getattr(importlib.import_module(module_name), class_name)
    if not (isinstance(found, type) and issubclass(found, interface)):
        raise PluginError(
            f"{what} is registered as {registration.target}, which is no {interface.__name__}; "
            f"make it a subclass of threedis_core.{interface.__name__}"
        )
    options: object = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BackendOptions)):
        raise PluginError(
            f"{what} has no options model; give {class_name} a class attribute Options, "
            "a subclass of threedis_core.BackendOptions"
        )
    return found
