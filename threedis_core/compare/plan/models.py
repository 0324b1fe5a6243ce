"""The frozen plan of a comparison, as ``plan.json`` holds it: every job and its key."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from threedis_core.errors import LayoutError
from threedis_core.run.config import LABEL_SIGN
from threedis_core.values.layout import Layout

PLAN_FORMAT: Literal[1] = 1
OF_ALL = ("steps", "guidance")
"""What a comparison may ask of all renderers that is an option of each, too."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedLayout(_Frozen):
    """A layout of the comparison.

    Args:
        id: Its name in the comparison; no two have the same.
        source: Where it was read: a file's name, or "benchmark NAME".
        sha256: Of that file; of the layout itself where there is none.
        place: Its place in the source, from 0.
        level: COCO-MIG's level, its number of instances; None in other sources.
        block: Which block of layouts it belongs to; a shard works on whole blocks.
        layout: What is where; None if it cannot be read.
        error: Why it cannot be read; "" if it can.
    """

    id: str
    source: str
    sha256: str
    place: int
    level: int | None = None
    block: int = 0
    layout: Layout | None = None
    error: str = ""


class PlannedSystem(_Frozen):
    """A system under comparison: a row of every table.

    Args:
        name: A renderer or preset, with its label; "DEPTHMODEL/NAME" where there are several depth
            models; what a manifest calls it, for pictures of another tool.
        renderer: The renderer or preset as it is registered; None: pictures of another tool.
        options: All its options, resolved.
        control: "on", or "none": the base model on the global prompt alone.
        region_refiner: What makes its regions.
        refiner_options: All its options, resolved.
        depth_model: What makes its depth maps; None: pictures of another tool.
        plugins: The plugins that take part, with their versions.
        weights: A fingerprint of every file of weights that was found, by its name.
        batch_size: Most pictures it works on at once.
    """

    name: str
    renderer: str | None
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    control: str = "on"
    region_refiner: str = "boxes"
    refiner_options: dict[str, Any] = Field(default_factory=dict[str, Any])
    depth_model: str | None = None
    plugins: tuple[str, ...] = ()
    weights: dict[str, str] = Field(default_factory=dict[str, str])
    batch_size: int = 4


class PlannedDepthModel(_Frozen):
    """A depth model of the comparison: its name as registered, all its options, its tries."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    tries: int = 1
    plugins: tuple[str, ...] = ()
    weights: dict[str, str] = Field(default_factory=dict[str, str])


class PlannedDepth(_Frozen):
    """A depth map: of one layout, by one depth model, with one seed. All renderers share it.

    ``size`` is (width, height) in pixels.
    """

    key: str
    layout: str
    depth_model: str
    seed: int
    size: tuple[int, int]


class PlannedJob(_Frozen):
    """A picture of the comparison.

    Args:
        key: A hash of all that decides its pixels; the name of its files.
        system: Whose picture.
        layout: Of which layout, by id.
        depth: The key of its depth map; None: a picture of another tool.
        seed: Its seed.
        batch: Which batch of the plan it is rendered in; None: a picture of another tool.
        size: (width, height) in pixels; None: a picture of another tool.
        file: Where a picture of another tool lies.
        refused: Why it cannot be done, known beforehand; "" if nothing is.
    """

    key: str
    system: str
    layout: str
    depth: str | None
    seed: int
    batch: int | None = None
    size: tuple[int, int] | None = None
    file: str | None = None
    refused: str = ""


class ComparePlan(_Frozen):
    """All that a comparison does, decided before its first picture.

    Args:
        format: Version of this format.
        versions: Of ThreeDIS, Python, the model libraries and the plugins that take part.
        threads: torch's threads in every worker.
        primary: The figure that is tested: "metric.figure"; None: no metric was asked for.
        baseline: The system that others are compared with.
        metrics: Options of each metric by its name.
        detectors: Options of each detector by its name, those that the metrics read included.
        seeds: Seeds of the pictures.
        depth_seeds: Seeds of the depth maps.
        layouts: In order.
        depth_models: In order.
        systems: In order; the rows of every table.
        depths: In order, layout by layout.
        jobs: In order, system by system.
        config: What was asked.
    """

    format: Literal[1] = PLAN_FORMAT
    versions: dict[str, str]
    threads: int = 1
    primary: str | None = None
    baseline: str
    metrics: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    detectors: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    seeds: tuple[int, ...] = (0,)
    depth_seeds: tuple[int, ...] = (0,)
    layouts: tuple[PlannedLayout, ...]
    depth_models: tuple[PlannedDepthModel, ...] = ()
    systems: tuple[PlannedSystem, ...]
    depths: tuple[PlannedDepth, ...] = ()
    jobs: tuple[PlannedJob, ...]
    config: dict[str, Any] = Field(default_factory=dict[str, Any])

    @cached_property
    def layouts_by_id(self) -> dict[str, PlannedLayout]:
        """The layouts by their ids."""
        return {layout.id: layout for layout in self.layouts}

    def readable_layout(self, name: str) -> Layout:
        """The layout of an id.

        Raises:
            LayoutError: It cannot be read.
        """
        planned = self.layouts_by_id[name]
        if planned.layout is None:
            raise LayoutError(f"{planned.source}: layout '{name}': {planned.error}")
        return planned.layout

    @cached_property
    def systems_by_name(self) -> dict[str, PlannedSystem]:
        """The systems by their names."""
        return {system.name: system for system in self.systems}

    @cached_property
    def depths_by_key(self) -> dict[str, PlannedDepth]:
        """The depth maps by their keys."""
        return {depth.key: depth for depth in self.depths}

    @cached_property
    def jobs_by_key(self) -> dict[str, PlannedJob]:
        """The jobs by their keys."""
        return {job.key: job for job in self.jobs}

    def base_of(self, place: int) -> int | None:
        """The place of the renderer that a system is a variant of, with the same depth model."""
        one = self.systems[place]
        bare, label, _ = one.name.partition(LABEL_SIGN)
        if one.renderer is None or not label:
            return None
        return next((at for at, other in enumerate(self.systems) if other.name == bare), None)

    def options_of(self, system: PlannedSystem) -> dict[str, Any]:
        """A system's options as its pictures were made: what was asked of all comes before them."""
        asked = {name: self.config.get(name) for name in OF_ALL if system.renderer}
        return system.options | {name: one for name, one in asked.items() if one is not None}
