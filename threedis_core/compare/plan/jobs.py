"""The jobs of a comparison: which picture is made in which batch, and the key of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import gcd

from threedis_core.compare.plan.config import CompareConfig
from threedis_core.compare.plan.keys import depth_model_content, key_of, system_content
from threedis_core.compare.plan.models import PlannedDepth, PlannedJob, PlannedLayout, PlannedSystem
from threedis_core.compare.plan.sources import layout_sha256
from threedis_core.compare.plan.systems import ChosenDepthModel, ChosenSystem
from threedis_core.errors import InputError
from threedis_core.plugin.interfaces import Capabilities, DepthRequest
from threedis_core.run.config import RunConfig
from threedis_core.run.plan import check_picture
from threedis_core.run.sizes import Size, planned_sizes
from threedis_core.values.layout import Layout

ANY_SIZE = (512, 512)
"""Of what can never be made, since its layout cannot be read."""


@dataclass(frozen=True)
class Basis:
    """What all keys of a plan have in common: versions and threads, and the settings of a run."""

    versions: Mapping[str, str]
    threads: int
    asked: RunConfig

    def content(self) -> dict[str, object]:
        """The same as plain data."""
        told = {"steps": self.asked.steps, "guidance": self.asked.guidance}
        return {"versions": dict(self.versions), "threads": self.threads, **told}


def with_blocks(
    layouts: Sequence[PlannedLayout], config: CompareConfig, batch_size: int
) -> list[PlannedLayout]:
    """The layouts in blocks: as many together as it takes to fill batches. None crosses blocks."""
    each = len(config.seeds) * len(config.depth_seeds)
    size = batch_size // gcd(batch_size, each)
    return [one.model_copy(update={"block": place // size}) for place, one in enumerate(layouts)]


def plan_depths(
    layouts: Sequence[PlannedLayout],
    seeds: Sequence[int],
    models: Sequence[ChosenDepthModel],
    able: Mapping[str, Capabilities],
    basis: Basis,
) -> list[PlannedDepth]:
    """A depth map for each layout, depth model and seed; one size serves all renderers."""
    planned: list[PlannedDepth] = []
    for one in layouts:
        size, sha256 = ANY_SIZE, one.sha256
        if one.layout is not None:
            size, _ = planned_sizes(basis.asked, one.layout, None, able)
            sha256 = layout_sha256(one.layout)
        for model in models:
            content = {**basis.content(), **depth_model_content(model.planned)}
            for seed in seeds:
                # Its id too: two layouts that are alike have a map each.
                told = {"id": one.id, "layout": sha256, "seed": seed, "size": size}
                key = key_of({**content, **told})
                name = model.planned.name
                planned.append(
                    PlannedDepth(key=key, layout=one.id, depth_model=name, seed=seed, size=size)
                )
    return planned


class JobPlanner:
    """Plans the jobs of one system after another; batches are numbered through.

    Args:
        layouts: All layouts, in blocks.
        depths: The depth maps of all.
        models: The depth models.
        seeds: The pictures' seeds.
        able: What each renderer can do, by its system's name.
        basis: What all keys have in common.
    """

    def __init__(
        self,
        layouts: Sequence[PlannedLayout],
        depths: Sequence[PlannedDepth],
        models: Sequence[ChosenDepthModel],
        seeds: Sequence[int],
        able: Mapping[str, Capabilities],
        basis: Basis,
    ) -> None:
        self._layouts = layouts
        self._models = {one.planned.name: one for one in models}
        self._seeds, self._able, self._basis = seeds, able, basis
        self._depths: dict[tuple[str, str | None], list[PlannedDepth]] = {}
        for depth in depths:
            self._depths.setdefault((depth.layout, depth.depth_model), []).append(depth)
        self._batches = 0

    def jobs(self, chosen: ChosenSystem) -> list[PlannedJob]:
        """The jobs of a system.

        Raises:
            InputError: It can do none of them; why it cannot do the first.
        """
        made: list[PlannedJob] = []
        problems: list[InputError] = []
        for _, block in groupby(self._layouts, lambda one: one.block):
            drafts: list[PlannedJob] = []
            for one in block:
                size, refused = self._looked_at(one, chosen, problems)
                drafts += self._drafts(one, chosen.planned, size, refused)
            made += self._batched(drafts, chosen.planned)
        if made and problems and all(job.refused for job in made):
            raise problems[0]
        return made

    def _looked_at(
        self, one: PlannedLayout, chosen: ChosenSystem, problems: list[InputError]
    ) -> tuple[Size | None, str]:
        """The size of a layout's pictures, and why there can be none."""
        if one.layout is None:
            return None, one.error
        try:
            return self._checked_size(one.layout, chosen), ""
        except InputError as error:
            problems.append(error)
            return None, str(error)

    def _checked_size(self, layout: Layout, chosen: ChosenSystem) -> Size:
        name = chosen.planned.name
        depth_size, sizes = planned_sizes(self._basis.asked, layout, None, self._able)
        check_picture(self._basis.asked, layout, sizes[name], chosen.able, name)
        chosen_model = self._models[str(chosen.planned.depth_model)]
        with chosen_model.model.failures_named():
            chosen_model.model.model.check(DepthRequest(layout, 0, *depth_size))
        return sizes[name]

    def _drafts(
        self, one: PlannedLayout, system: PlannedSystem, size: Size | None, refused: str
    ) -> Iterator[PlannedJob]:
        for depth in self._depths[one.id, system.depth_model]:
            for seed in self._seeds:
                yield PlannedJob(
                    key="",
                    system=system.name,
                    layout=one.id,
                    depth=depth.key,
                    seed=seed,
                    size=size,
                    refused=refused,
                )

    def _batched(self, drafts: Sequence[PlannedJob], system: PlannedSystem) -> list[PlannedJob]:
        """The jobs of a block with their batches and keys; pictures of one size go together."""
        by_size: dict[Size | None, list[int]] = {}
        for place, draft in enumerate(drafts):
            by_size.setdefault(draft.size, []).append(place)
        made = list(drafts)
        for size, places in by_size.items():
            step = system.batch_size if size is not None else 1
            for start in range(0, len(places), step):
                self._batch([*places[start : start + step]], made, system)
        return made

    def _batch(self, places: list[int], made: list[PlannedJob], system: PlannedSystem) -> None:
        content = {**self._basis.content(), **system_content(system)}
        content["batch"] = [
            [made[place].depth, made[place].seed, made[place].size] for place in places
        ]
        refused = made[places[0]].size is None
        for number, place in enumerate(places):
            layout = made[place].layout
            key = key_of({**content, "number": number, "layout": layout if refused else ""})
            batch = None if refused else self._batches
            made[place] = made[place].model_copy(update={"key": key, "batch": batch})
        self._batches += not refused
