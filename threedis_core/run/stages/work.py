"""A run at work: its folder, what it has so far, and what is missing."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter
from typing import Any

from threedis_core.files.printable import printable
from threedis_core.plugin.interfaces import RenderBackend, RenderRequest
from threedis_core.plugin.progress import Watched
from threedis_core.presence.measure import presence_scores
from threedis_core.run.folder import RunFolder
from threedis_core.run.lending import Lender
from threedis_core.run.plan import PlannedRenderer, RunPlan
from threedis_core.run.record.earlier import Earlier, Key, picture_keys, read_earlier
from threedis_core.run.record.files import (
    SHEET,
    write_inputs,
    write_pictures,
    write_record,
    write_sheet,
)
from threedis_core.run.record.provenance import Origin, depth_facts, run_record
from threedis_core.run.result import Previews, Run, RunImage, StageDepth
from threedis_core.run.stages.depth import make_depth
from threedis_core.run.stages.pictures import batches, in_parts, make_requests, render_batch
from threedis_core.run.stages.regions import make_regions
from threedis_core.values.regions import Regions

_log = logging.getLogger("threedis_core.run")
_warnings = logging.getLogger("threedis_core.warnings")


class Work:
    """One run, from the claim of its folder to its last file.

    Args:
        plan: What to do.
        folder: Where it writes; it is claimed.
        earlier: What an earlier run of the same plan has left there, if it has.
    """

    made: StageDepth
    regions: Regions

    def __init__(self, plan: RunPlan, folder: RunFolder, earlier: Earlier | None) -> None:
        self.plan = plan
        self._folder = folder
        self._earlier = earlier
        self._keys = picture_keys(plan)
        self._images: dict[Key, RunImage] = {} if earlier is None else dict(earlier.images)
        self._record: dict[str, Any] = {} if earlier is None else dict(earlier.record)
        self._begun = earlier is not None
        self.kept = len(self._images)
        self.seconds: dict[str, float] = dict(self._record.get("seconds", {}))
        self.told: list[str] = [*plan.warnings, *self._record.get("warnings", ())]
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        self._created = str(self._record.get("created", now))
        if earlier is not None:
            folder.keep()
            _log.info("%d of %d pictures are there already", self.kept, self.total)

    @classmethod
    @contextmanager
    def begun(cls, plan: RunPlan) -> Generator[Work]:
        """Claim the plan's folder, and look what is in it already.

        Raises:
            OptionError: It holds something else, or another run has it.
        """
        with RunFolder.claimed(plan.config.out) as folder:
            yield cls(plan, folder, read_earlier(folder.path, plan))

    @property
    def done(self) -> int:
        """How many pictures there are by now."""
        return len(self._images)

    @property
    def total(self) -> int:
        """How many there will be."""
        return len(self._keys)

    def make_depth(self, progress: Watched, lender: Lender) -> None:
        """Make the depth map, unless it is there."""
        config, plan = self.plan.config, self.plan
        if self._earlier is not None:
            depth, facts = self._earlier.depth, self._record["depth"]
            presence = presence_scores(plan.layout, depth)
            self.made = StageDepth(depth, facts.get("cached"), (), presence, (), facts.get("seed"))
            return
        with self._timed("depth"):
            self.made = make_depth(
                plan.depth, plan.layout, config.depth_seed, config.depth_cache, progress, lender
            )
        self.told += self.made.warnings

    def make_regions(self, lender: Lender) -> None:
        """Make the regions of the depth map; they are not kept in the folder as such."""
        plan, name = self.plan, self.plan.config.region_refiner.name
        with self._timed("regions"):
            self.regions = make_regions(
                plan.refiner, name, plan.layout, self.made.depth, self.told.append, lender
            )

    def planned(self, name: str) -> PlannedRenderer:
        """The plan's renderer of that name."""
        return next(one for one in self.plan.renderers if one.name == name)

    def misses(self, renderer: str) -> bool:
        """Whether a picture of a renderer is missing."""
        return any(key[0] == renderer and key not in self._images for key in self._keys)

    def render(
        self, renderer: str, progress: Watched, backend: RenderBackend, previews: Previews | None
    ) -> Generator[None]:
        """Render what is missing of one renderer; yields after each batch, which is written then.

        A batch of which a picture is missing is rendered as a whole: in a smaller one the same
        picture is rounded otherwise.
        """
        planned, origin = self.planned(renderer), Origin.of(self.plan)

        def render(some: Sequence[RenderRequest]) -> list[RunImage]:
            with self._timed(renderer, f", pictures of seeds {[one.seed for one in some]}"):
                return render_batch(origin, planned, some, progress, backend, previews)

        for control, seeds in batches(self.plan.config):
            missing = [one for one in seeds if (renderer, control, one) not in self._images]
            if not missing:
                continue
            depth, regions = self.made.depth, self.regions
            requests = make_requests(self.plan, planned, depth, regions, control, seeds)
            for made in in_parts(render, requests):
                self._keep([image for image in made if image.seed in missing])
                yield

    def _keep(self, images: Sequence[RunImage]) -> None:
        """Write pictures; before the first ones what they are made of."""
        if not self._begun:  # nothing earlier: a run that cannot start can be tried again
            self._write_record(finished=False)
            write_inputs(self._folder, self.plan.layout, self.made.depth, self.regions)
            self._begun = True
        for image in write_pictures(self._folder, images):
            self._images[image.renderer, image.control, image.seed] = image
            self.told += image.warnings
        self._write_record(finished=False)

    def finish(self) -> Run:
        """Write the sheet and the last record; what the run has made."""
        path = self._folder.path
        unchanged = self._record.get("finished", True) and self.kept == self.total
        if self._earlier is None or not unchanged or path is None or not (path / SHEET).exists():
            self._compose(finished=True)
            sheet = write_sheet(self._folder, self._run())
            self._write_record(finished=True)
        else:
            sheet = path / SHEET
        for line in self._warnings():
            _warnings.warning("%s", printable(line, 2000))
        return self._run(sheet)

    def _run(self, sheet: Any = None) -> Run:
        return Run(
            self.plan.layout,
            self.made.depth,
            self.regions,
            self._in_order(),
            self._warnings(),
            self._record,
            self.plan.config.out,
            self.made.presence,
            sheet,
            self.kept,
        )

    def _in_order(self) -> tuple[RunImage, ...]:
        return tuple(self._images[key] for key in self._keys if key in self._images)

    def _warnings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.told))  # a renderer may say the same with every picture

    def _compose(self, finished: bool) -> None:
        earlier = self._earlier
        self._record = run_record(
            self.plan,
            depth_facts(self.plan, self.made) if earlier is None else earlier.record["depth"],
            self._in_order(),
            self.seconds,
            self._warnings(),
            self._created,
            finished,
        )

    def _write_record(self, finished: bool) -> None:
        self._compose(finished)
        write_record(self._folder, self._record)

    @contextmanager
    def _timed(self, part: str, what: str = "") -> Generator[None]:
        """Add to the part's seconds how long the block takes, by the wall clock."""
        start = perf_counter()
        _log.debug("%s%s: begins", part, what)
        try:
            yield
        finally:
            taken = perf_counter() - start
            self.seconds[part] = round(self.seconds.get(part, 0.0) + taken, 3)
            _log.info("%s%s: %.2f seconds", part, what, taken)
