"""The pocket benchmark: held-out layouts with the hook on and off, as a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from threedis_core.compare import Comparison, Means, compare
from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.scoring.results import cells_of
from threedis_core.compare.scoring.stored import read_findings
from threedis_core.errors import RenderError
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry
from threedis_pocket.bench.measure import Judgement, decide, summarise
from threedis_pocket.bench.pictures import SIZE, SPLIT, exact_ceiling
from threedis_pocket.judging import observation
from threedis_pocket.layouts import sample_layouts

DETECTOR, METRIC, EXACT = "pocket-objects", "pocket", "pocket-scene"
BATCH = 8


def bench_pocket(
    registry: PluginRegistry,
    presets: Sequence[str],
    layouts: int = 96,
    seeds: int = 2,
    without: Sequence[str] = (),
    progress: Progress = silent,
    depth_model: str | None = None,
    out: Path | None = None,
    means: Means | None = None,
) -> dict[str, Any]:
    """Measure presets with the hook on and off, and with one control off at a time.

    Args:
        registry: The plugins.
        presets: What to measure.
        layouts: The first so many of the held-out ones.
        seeds: 0, 1, ... of every layout.
        without: Controls that are on/off options of the presets' renderers, such as ``i2i``.
        progress: Told about every step.
        depth_model: Makes one depth map of each layout; None is exact depth.
        out: Folder of the comparison, which the same call goes on with; None: nothing is kept.
        means: How the work is done.
    Returns:
        {"presets": {name: {"on" | "without CONTROL" | "off": {metric: {group: {"value", "low",
        "high", "n"}}}}}, "ceiling": {metric: ...}, "settings": {...}}, JSON-ready.

    Raises:
        OptionError: A renderer has no such option, or the folder holds another comparison.
        RenderError: A picture could not be made.
    """
    systems = list(_systems(presets, without))
    with TemporaryDirectory() as folder:
        made = compare(
            registry=registry,
            stages=("render", "detect") if out is None else ("render", "detect", "score"),
            means=means,
            progress=progress,
            layouts={"benchmark": "pocket-test", "options": {"count": layouts}},
            depth_models=depth_model or EXACT,
            renderers={system: options for system, _, _, options in systems},
            seeds=list(range(seeds)),
            width=SIZE,
            height=SIZE,
            batch_size=BATCH,
            metrics=METRIC,
            out=out or Path(folder) / "bench",
        )
        _all_there(made)
        judged = _judged(made)
    table: dict[str, Any] = {name: {} for name in presets}
    for system, name, switch, _ in systems:
        table[name][switch] = summarise(judged[system])
    return {
        "presets": table,
        "ceiling": summarise(exact_ceiling(sample_layouts(SPLIT, layouts))),
        "settings": {
            "split": SPLIT,
            "layouts": layouts,
            "seeds": list(range(seeds)),
            "depth": depth_model,
        },
    }


def _systems(
    presets: Sequence[str], without: Sequence[str]
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """What is measured: (system, preset, switch, the system's options)."""
    for name in presets:
        yield name, name, "on", {}
        for control in without:
            yield f"{name}@no-{control}", name, f"without {control}", {control: False}
        yield f"{name}@off", name, "off", {"control": "off"}


def _all_there(made: Comparison) -> None:
    if made.failed:
        first = made.failed[0]
        raise RenderError(
            f"{len(made.failed)} jobs of the benchmark failed, the first with: {first.error}"
        )
    if made.problems:
        raise RenderError(made.problems[0])


def _judged(made: Comparison) -> dict[str, list[Judgement]]:
    """The judgements of every system; its pictures are numbered layout after layout."""
    folder = CompareFolder(made.folder)
    judged: dict[str, list[Judgement]] = {one.name: [] for one in made.plan.systems}
    for number, cell in enumerate(cells_of(made.plan)):
        layout = made.plan.layouts[cell.layout].layout
        for job in cell.jobs:
            if job is not None and layout is not None:
                found = read_findings(folder.detection(DETECTOR, job.key).read_bytes())
                seen = [observation(one) for one in found]
                judged[job.system] += decide(layout, seen, number, cell.layout)
    return judged
