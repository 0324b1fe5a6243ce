"""One call for a comparison, or for one of its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from threedis_core.compare.estimate import remember
from threedis_core.compare.folder import DEPTH, RENDER, CompareFolder, detect_stage, score_stage
from threedis_core.compare.opening import Asked, asked_by
from threedis_core.compare.plan.config import CompareConfig
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.stages import (
    Work,
    detect_stage_of,
    forgive,
    render_stage,
    score_stage_of,
)
from threedis_core.compare.state import Counts, FailedJob, counts_by_system, failed_jobs
from threedis_core.compare.work.claim import Shard, claimed, guarded
from threedis_core.compare.work.crews.late import LateCrew
from threedis_core.compare.work.driver import Driver, Tally
from threedis_core.compare.work.ledger import Ledger, sweep
from threedis_core.compare.work.means import Means
from threedis_core.compare.work.tasks import Setting
from threedis_core.compare.work.units import Share
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.options import validate_options
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.folder import told_as_not_written

Stage = Literal["render", "detect", "score"]
STAGES: tuple[Stage, ...] = ("render", "detect", "score")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of a comparison.

    Args:
        folder: Where everything is.
        plan: What was planned.
        systems: How many pictures of each system there are.
        failed: What failed, in any stage.
        problems: Why a detector or a metric could not work at all, a line each.
    """

    folder: Path
    plan: ComparePlan
    systems: dict[str, Counts]
    failed: tuple[FailedJob, ...]
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all pictures are there and everything that was asked of them is done."""
        return (
            not self.failed
            and not self.problems
            and not any(one.left for one in self.systems.values())
        )


def compare(
    *,
    registry: PluginRegistry | None = None,
    stages: Sequence[Stage] = STAGES,
    means: Means | None = None,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Comparison:
    """Compare renderers on the same layouts, depth maps and seeds; the same call goes on.

    Args:
        registry: The plugins to use; None: the installed ones. Workers use the installed ones.
        stages: Which stages to do.
        means: How the work is done; None: in this process.
        progress: Told about every step; what it raises ends the work and comes out as it is.
        warn: Told what is worth knowing, in one line.
        **settings: The fields of ``CompareConfig``: ``layouts``, ``renderers``, ``seeds``, ``out``
            and so on.
    Raises:
        InputError: Something is wrong with what was asked, before any model is loaded.
        WeightsError: No renderer can work here.
        RenderError: A file cannot be written, or workers cannot start.
    """
    config = validate_options(CompareConfig, settings, "compare")
    registry = registry or load_plugins()
    asked = asked_by(config, registry)
    return carry_out(asked, registry, stages, means or Means(), progress, warn)


def carry_out(
    asked: Asked,
    registry: PluginRegistry,
    stages: Sequence[Stage] = STAGES,
    means: Means | None = None,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Do some stages of what is asked; arguments and errors as for ``compare``."""
    means = means or Means()
    asked.there()  # refuses another comparison before the folder is touched
    folder = asked.folder
    with claimed(folder.path, means.shard, means.wait, warn) as alone:
        with guarded(folder.path):
            plan = asked.frozen()
            sweep(folder, None if alone else _batches(plan, means.shard))
        share = Share(plan, folder, means.shard)
        problems = _done(share, registry, stages, means, progress, warn)
    remember(folder, plan)
    if "score" in stages and means.shard.count == 1:
        _write_tables(folder, plan, progress, registry)
    failed = tuple(failed_jobs(folder, plan))
    return Comparison(folder.path, plan, counts_by_system(folder, plan), failed, tuple(problems))


def _done(
    share: Share,
    registry: PluginRegistry,
    stages: Sequence[Stage],
    means: Means,
    progress: Progress,
    warn: Callable[[str], None],
) -> list[str]:
    """Do the stages; why a detector or a metric could not work."""
    plan = share.plan
    if means.shard.count > 1:  # scores are made of what all shards have done
        stages = [stage for stage in stages if stage != "score"]
    setting = Setting(share.folder.path, plan.versions, plan.threads)

    def tell(stage: str, tally: Tally) -> None:
        progress(f"{stage}: done", tally.done + tally.failed, tally.total)

    with (
        closing(Ledger(share.folder)) as ledger,
        closing(LateCrew(setting, registry, means, progress)) as crew,
    ):
        driver = Driver(crew, ledger, tell, warn)
        work = Work(share, registry, ledger, driver, means.engine == "local", warn)
        if means.retry_failed:
            forgive(work, _named(stages, plan))
        if "render" in stages:
            render_stage(work)
        for name in plan.detectors if "detect" in stages else ():
            detect_stage_of(work, name)
        for name in plan.metrics if "score" in stages else ():
            score_stage_of(work, name)
        return work.problems


def _named(stages: Sequence[Stage], plan: ComparePlan) -> list[str]:
    """The stages as failures name them."""
    named = [DEPTH, RENDER] if "render" in stages else []
    named += [detect_stage(name) for name in plan.detectors if "detect" in stages]
    return named + [score_stage(name) for name in plan.metrics if "score" in stages]


def _batches(plan: ComparePlan, shard: Shard) -> list[int]:
    """The batches of a share, which nobody else works on."""
    own = {one.id for one in plan.layouts if shard.has(one)}
    return [job.batch for job in plan.jobs if job.batch is not None and job.layout in own]


def _write_tables(
    folder: CompareFolder, plan: ComparePlan, progress: Progress, registry: PluginRegistry
) -> None:
    """Write the tables and the page."""
    from threedis_core.compare.report import write_report
    from threedis_core.compare.tables.writing import write_tables

    with told_as_not_written(folder.path):
        write_tables(folder, plan, progress, registry)
        write_report(folder.path, progress)
