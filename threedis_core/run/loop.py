"""The one loop: layout -> depth -> regions -> pictures, with provenance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from threedis_core.plugin.progress import Progress, Watched, silent
from threedis_core.run.lending import ClosedAfterUse, Lender, Sharing, share_a_load
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.result import Previews, Run
from threedis_core.run.stages.work import Work

PICTURES = "pictures"
"""The stage that counts the pictures of all runs together."""


def carry_out(
    plan: RunPlan,
    progress: Progress = silent,
    lender: Lender | None = None,
    previews: Previews | None = None,
) -> Run:
    """Make the depth map, the regions and the pictures that ``plan`` says.

    If its folder holds what an earlier run of the same plan has left, that is kept, and only what
    is missing is made.

    Args:
        plan: What to do.
        progress: Told about every step; what it raises ends the run and comes out as it is.
        lender: Where the backends come from; None: from the plan, and each is closed after use.
        previews: Who looks at pictures in the making, if anybody does.
    Raises:
        InputError: A backend refuses the layout, or the folder holds another run, or another run
            took it meanwhile.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working, or a file cannot be written.
    """
    (run,) = carry_out_all([plan], progress, lender, previews)
    return run


def carry_out_all(
    plans: Sequence[RunPlan],
    progress: Progress = silent,
    lender: Lender | None = None,
    previews: Previews | None = None,
) -> list[Run]:
    """Do several plans, which name the same backends: each model is loaded once for all of them.

    The depth maps of all come first, then the pictures of all, renderer by renderer, those that
    load the same model one after another. Arguments and errors are those of ``carry_out``.
    """
    lender, watched = lender or ClosedAfterUse(), Watched(progress)
    with ExitStack() as stack:
        works = [stack.enter_context(Work.begun(plan)) for plan in plans]
        total, kept = sum(work.total for work in works), sum(work.kept for work in works)
        if kept:
            watched(PICTURES, kept, total)
        with Sharing.of(lender) as shared:
            for work in works:
                work.make_depth(watched, shared)
        with Sharing.of(lender) as shared:
            for work in works:
                work.make_regions(shared)
        for names in _sharing_a_load(plans):
            with Sharing.of(lender) as shared:
                for name, work in [(name, work) for name in names for work in works]:
                    if not work.misses(name):
                        continue
                    backend = work.planned(name).backend
                    with shared.lent(backend, f"renderer '{name}'", work.told.append) as lent:
                        for _ in work.render(name, watched, lent, previews):
                            watched(PICTURES, sum(one.done for one in works), total)
        return [work.finish() for work in works]


def _sharing_a_load(plans: Sequence[RunPlan]) -> list[list[str]]:
    """The names of the renderers, those that load the same model together."""
    groups: list[list[PlannedRenderer]] = []
    for one in {one.name: one for plan in plans for one in plan.renderers}.values():
        for group in groups:
            if share_a_load(group[0].backend, one.backend):
                group.append(one)
                break
        else:
            groups.append([one])
    return [[one.name for one in group] for group in groups]
