"""The one loop: layout -> depth -> regions -> pictures, with provenance."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from threedis_core.plugin.progress import Progress, Watched, silent
from threedis_core.run.folder import RunFolder
from threedis_core.run.lending import ClosedAfterUse, Lender
from threedis_core.run.plan import RunPlan
from threedis_core.run.record.files import (
    write_inputs,
    write_picture,
    write_record,
    write_sheet,
)
from threedis_core.run.record.provenance import run_record
from threedis_core.run.record.timing import timed
from threedis_core.run.result import Previews, Run, RunImage
from threedis_core.run.stages.depth import make_depth
from threedis_core.run.stages.pictures import render_pictures
from threedis_core.run.stages.regions import make_regions


def carry_out(
    plan: RunPlan,
    progress: Progress = silent,
    lender: Lender | None = None,
    previews: Previews | None = None,
) -> Run:
    """Make the depth map, the regions and the pictures that ``plan`` says.

    Args:
        plan: What to do.
        progress: Told about every step; what it raises ends the run and comes out as it is.
        lender: Where the backends come from; None: from the plan, and each is closed after use.
        previews: Who looks at pictures in the making, if anybody does.
    Raises:
        InputError: A backend refuses the layout, or another run took the folder meanwhile.
        WeightsError: A model is missing or unreadable.
        RenderError: A backend failed while it was working, or a file cannot be written.
    """
    config, started = plan.config, datetime.now().astimezone()
    lender, watched = lender or ClosedAfterUse(), Watched(progress)
    seconds: dict[str, float] = {}
    told: list[str] = list(plan.warnings)
    images: list[RunImage] = []
    with RunFolder.claimed(config.out) as folder:
        with timed(seconds, "depth"):
            made = make_depth(
                plan.depth, plan.layout, config.depth_seed, config.depth_cache, watched, lender
            )
        told += made.warnings
        with timed(seconds, "regions"):
            name = config.region_refiner.name
            regions = make_regions(plan.refiner, name, plan.layout, made.depth, told.append, lender)
        for planned in plan.renderers:
            lent = lender.lent(planned.backend, f"renderer '{planned.name}'", told.append)
            with timed(seconds, planned.name), lent as backend:
                for image in render_pictures(
                    plan, planned, made.depth, regions, watched, backend, previews
                ):
                    if not images:  # nothing earlier: a run that cannot start can be tried again
                        write_inputs(folder, plan.layout, made.depth, regions)
                    images.append(replace(image, file=write_picture(folder, image)))
                    told += image.warnings
        warnings = tuple(dict.fromkeys(told))  # a renderer may say the same with every picture
        record = run_record(plan, made, images, seconds, warnings, started)
        run = Run(
            plan.layout,
            made.depth,
            regions,
            tuple(images),
            warnings,
            record,
            config.out,
            made.presence,
        )
        run = replace(run, sheet=write_sheet(folder, run))
        write_record(folder, record)
    return run
