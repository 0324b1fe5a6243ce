"""The backends of a comparison, chosen and checked as far as can be without loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threedis_core.compare.plan.config import CompareConfig, SystemSettings
from threedis_core.compare.plan.models import PlannedDepthModel, PlannedSystem
from threedis_core.compare.plan.weights import fingerprints
from threedis_core.errors import placed
from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import Backend, Capabilities, RegionRefiner, RenderBackend
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.result_checks import checked_capabilities
from threedis_core.run import depth_plan
from threedis_core.run.config import Choice, registered_name
from threedis_core.run.record.portable_paths import portable

Sources = tuple[PluginSource, ...]


@dataclass(frozen=True, eq=False)
class ChosenSystem:
    """A row of the tables: what the plan says of it, what it can do, who has a part in it."""

    planned: PlannedSystem
    able: Capabilities
    sources: Sources


@dataclass(frozen=True, eq=False)
class ChosenDepthModel:
    """A depth model: what the plan says of it, and the model, which has loaded nothing."""

    planned: PlannedDepthModel
    model: depth_plan.PlannedDepthModel


def choose_systems(
    config: CompareConfig, registry: PluginRegistry, folder: Path
) -> list[ChosenSystem]:
    """Make every renderer and region refiner of a comparison; loads no weights.

    Args:
        config: What is asked.
        registry: The plugins.
        folder: The comparison's folder; paths among the options are told relative to it.
    Raises:
        InputError: A name or an option that does not fit.
        PluginError: A backend's class cannot be used.
    """
    made: list[ChosenSystem] = []
    several = len(config.depth_models) > 1
    for name, settings in config.renderers.items():
        with placed(f"renderers.{name}"):
            made.append(_system(name, SystemSettings.of(settings, name), config, registry, folder))
    return [
        ChosenSystem(_of_depth_model(one.planned, depth_model, several), one.able, one.sources)
        for depth_model in config.depth_models
        for one in made
    ]


def choose_depth_models(
    config: CompareConfig, registry: PluginRegistry, folder: Path
) -> list[ChosenDepthModel]:
    """Make every depth model of a comparison; loads no weights. Arguments as above."""
    made: list[ChosenDepthModel] = []
    for name, options in config.depth_models.items():
        with placed("depth_models"):
            model = depth_plan.plan_depth_model(
                Choice(name=name, options=options), (8, 8), registry, config.depth_tries
            )
        planned = PlannedDepthModel(
            name=name,
            options=told_options(model.model, folder, model.sources),
            tries=model.tries,
            plugins=told_sources(model.sources),
            weights=fingerprints(model.model, folder, packages_of(model.sources)),
        )
        made.append(ChosenDepthModel(planned, model))
    return made


def packages_of(sources: Sequence[PluginSource]) -> tuple[str, ...]:
    """The import packages of some plugins."""
    return tuple(dict.fromkeys(one.module.partition(".")[0] for one in sources))


def told_sources(sources: Sequence[PluginSource]) -> tuple[str, ...]:
    """Some plugins with their versions, each once."""
    return tuple(dict.fromkeys(str(one) for one in sources))


def told_options(backend: Backend, folder: Path, sources: Sequence[PluginSource]) -> dict[str, Any]:
    """All options of a backend, resolved; paths are told relative to the comparison's folder."""
    return portable(backend.options.model_dump(mode="json"), folder, packages_of(sources))


def _system(
    name: str,
    settings: SystemSettings,
    config: CompareConfig,
    registry: PluginRegistry,
    folder: Path,
) -> ChosenSystem:
    renderer = registry.choose(RenderBackend, registered_name(name), settings.options)
    refiner_choice = settings.region_refiner or config.region_refiner
    refiner = registry.choose(RegionRefiner, refiner_choice.name, refiner_choice.options)
    with failures_named(f"renderer '{name}'"):
        able = checked_capabilities(renderer.backend.capabilities)
    sources = (*renderer.sources, *refiner.sources)
    packages = packages_of(sources)
    weights = fingerprints(renderer.backend, folder, packages)
    planned = PlannedSystem(
        name=name,
        renderer=registered_name(name),
        options=told_options(renderer.backend, folder, sources),
        control=settings.control,
        region_refiner=refiner_choice.name,
        refiner_options=told_options(refiner.backend, folder, sources),
        plugins=told_sources(sources),
        weights=weights | fingerprints(refiner.backend, folder, packages),
        batch_size=settings.batch_size or config.batch_size,
    )
    return ChosenSystem(planned, able, sources)


def _of_depth_model(system: PlannedSystem, depth_model: str, several: bool) -> PlannedSystem:
    name = f"{depth_model}/{system.name}" if several else system.name
    return system.model_copy(update={"name": name, "depth_model": depth_model})
