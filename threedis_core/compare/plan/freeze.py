"""Make the plan of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threedis_core.compare.plan.config import CompareConfig
from threedis_core.compare.plan.jobs import Basis, JobPlanner, plan_depths, with_blocks
from threedis_core.compare.plan.judges import choose_judges
from threedis_core.compare.plan.keys import key_of
from threedis_core.compare.plan.manifest import OtherPicture
from threedis_core.compare.plan.models import ComparePlan, PlannedJob, PlannedLayout, PlannedSystem
from threedis_core.compare.plan.systems import choose_depth_models, choose_systems
from threedis_core.errors import OptionError
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.plugin.request_checks import check_seed
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import with_negative_prompt
from threedis_core.run.record.portable_paths import portable
from threedis_core.run.record.versions import versions_with
from threedis_core.suggest import did_you_mean

NO_SETTINGS = {"layouts", "pictures", "out"}
"""What of a config the plan itself tells."""


def make_plan(
    config: CompareConfig,
    layouts: Sequence[PlannedLayout],
    pictures: Sequence[OtherPicture],
    registry: PluginRegistry,
    folder: Path,
) -> ComparePlan:
    """Decide all that can be decided before a model is loaded.

    Args:
        config: What is asked.
        layouts: What is where; see ``read_sources``.
        pictures: Those of other tools; see ``read_manifest``.
        registry: The plugins.
        folder: The comparison's folder; paths are told relative to it.
    Raises:
        InputError: A name or an option that does not fit, or a renderer that can make no picture.
        PluginError: A backend's class cannot be used.
    """
    for seed in (*config.seeds, *config.depth_seeds):
        check_seed(seed)
    systems = choose_systems(config, registry, folder)
    models = choose_depth_models(config, registry, folder) if systems else []
    sources = [part for one in systems for part in one.sources]
    sources += [part for one in models for part in one.model.sources]
    basis = Basis(versions_with(sources), config.threads, _asked(config))
    most = max((one.planned.batch_size for one in systems), default=1)
    told = with_blocks([_with_negative(one, config) for one in layouts], config, most)
    able = {one.planned.name: one.able for one in systems}
    depths = plan_depths(told, config.depth_seeds, models, able, basis) if systems else []
    planner = JobPlanner(told, depths, models, config.seeds, able, basis)
    jobs = [job for one in systems for job in planner.jobs(one)]
    others = [_other_job(one, told, folder) for one in pictures]
    rows = [one.planned for one in systems]
    rows += [
        PlannedSystem(name=name, renderer=None)
        for name in dict.fromkeys(one.system for one in pictures)
    ]
    judges = choose_judges(config, registry, [one.layout for one in told if one.layout])
    return ComparePlan(
        versions=dict(basis.versions),
        threads=config.threads,
        primary=judges.primary,
        baseline=_baseline(config.baseline, [one.name for one in rows]),
        metrics=portable(judges.metrics, folder),
        detectors=portable(judges.detectors, folder),
        seeds=config.seeds,
        depth_seeds=config.depth_seeds,
        layouts=tuple(told),
        depth_models=tuple(one.planned for one in models),
        systems=tuple(rows),
        depths=tuple(depths),
        jobs=(*jobs, *others),
        config=_settings(config, folder),
    )


def _asked(config: CompareConfig) -> RunConfig:
    """What is asked of every picture, as one run is asked it."""
    names = ("width", "height", "steps", "guidance", "negative_prompt")
    return RunConfig(**{name: getattr(config, name) for name in names})


def _with_negative(one: PlannedLayout, config: CompareConfig) -> PlannedLayout:
    if one.layout is None or config.negative_prompt is None:
        return one
    layout = with_negative_prompt(one.layout, config.negative_prompt)
    return one.model_copy(update={"layout": layout})


def _other_job(picture: OtherPicture, layouts: Sequence[PlannedLayout], folder: Path) -> PlannedJob:
    content = [picture.system, picture.layout, picture.seed, picture.sha256]
    layout = next(one for one in layouts if one.id == picture.layout)
    return PlannedJob(
        key=key_of(content),
        system=picture.system,
        layout=picture.layout,
        depth=None,
        seed=picture.seed,
        file=portable(str(picture.file.absolute()), folder),
        refused=layout.error,
    )


def _baseline(asked: str | None, systems: Sequence[str]) -> str:
    if asked is None:
        return systems[0]
    if asked not in systems:
        raise OptionError(
            f"baseline is '{asked:.80}', which is not compared. There are: "
            f"{', '.join(systems)}.{did_you_mean(asked, systems)}",
            code="wrong-value",
            path="baseline",
        )
    return asked


def _settings(config: CompareConfig, folder: Path) -> dict[str, Any]:
    told = config.model_dump(mode="json", exclude_none=True, exclude=NO_SETTINGS)
    return portable(told, folder)
