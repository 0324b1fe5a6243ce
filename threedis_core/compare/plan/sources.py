"""The layouts of a comparison: read from files and benchmarks, and told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from threedis_core.compare.plan.config import LayoutSource
from threedis_core.compare.plan.models import PlannedLayout
from threedis_core.errors import LayoutError, OptionError, placed
from threedis_core.files.printable import printable
from threedis_core.formats.layout_sets import is_coco_mig, read_layout_set
from threedis_core.plugin.judging.benchmarks import Benchmark
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.values.layout import Layout


def read_sources(
    sources: Sequence[LayoutSource], registry: PluginRegistry
) -> tuple[PlannedLayout, ...]:
    """Read every layout; one that is wrong stays in its place, with what is wrong.

    Raises:
        InputError: A file that is not there or cannot be read, a pattern that fits none, an
            unknown benchmark, or no layout that can be used.
    """
    read: list[PlannedLayout] = []
    for number, source in enumerate(sources):
        with placed(f"layouts[{number}]"):
            read += _benchmark(source, registry) if source.benchmark else _files(source)
    if not any(one.layout for one in read):
        raise LayoutError(read[0].error if read else "the benchmark has no layout")
    return tuple(_with_own_ids(read))


def _benchmark(source: LayoutSource, registry: PluginRegistry) -> Iterator[PlannedLayout]:
    name = str(source.benchmark)
    benchmark = registry.choose(Benchmark, name, source.options).backend
    for place, layout in enumerate(list(benchmark.layouts())[: source.limit]):
        yield PlannedLayout(
            id=layout.id or f"{name}-{place:04d}",
            source=f"benchmark {name}",
            sha256=layout_sha256(layout),
            place=place,
            layout=layout,
        )


def _files(source: LayoutSource) -> Iterator[PlannedLayout]:
    for path in _paths(str(source.file)):
        found = read_layout_set(path, source.images, source.limit)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        levelled = is_coco_mig(path)
        for place, one in enumerate(found):
            layout, error = (
                (one, "") if isinstance(one, Layout) else (None, printable(str(one), 400))
            )
            named = layout.id if layout is not None else None
            alone = path.stem if len(found) == 1 else f"{path.stem}-{place:04d}"
            yield PlannedLayout(
                id=named or alone,
                source=path.name,
                sha256=sha256,
                place=place,
                level=len(layout.instances) if levelled and layout else None,
                layout=layout,
                error=error,
            )


def _paths(pattern: str) -> list[Path]:
    """The files that a name or a pattern means, in order.

    Raises:
        OptionError: It fits none.
    """
    if not has_magic(pattern) or Path(pattern).exists():
        return [Path(pattern)]
    found = sorted(Path(name) for name in glob(pattern, recursive=True) if Path(name).is_file())
    if not found:
        raise OptionError(
            f"{printable(pattern)} fits no file; check the pattern",
            code="file-not-found",
            path="file",
            hint="check the pattern",
        )
    return found


def _with_own_ids(read: Sequence[PlannedLayout]) -> Iterator[PlannedLayout]:
    """The layouts with ids that fit file names, a number after those that are there already."""
    taken: set[str] = set()
    for one in read:
        plain = printable(one.id, 80).strip() or "layout"
        free, number = plain, 2
        while free in taken:
            free, number = f"{plain}-{number}", number + 1
        taken.add(free)
        yield one.model_copy(update={"id": free})


def layout_sha256(layout: Layout) -> str:
    """SHA-256 of all that a layout says, its id aside."""
    content = {name: value for name, value in layout.to_dict().items() if name != "id"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
