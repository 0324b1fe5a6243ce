"""Measure what a comparison costs over calling the renderers, and what a second worker brings.

python benchmarks/bench_compare.py                 the overhead, 96 pictures of pocket-sd15
python benchmarks/bench_compare.py --workers 2     two worker processes against one

The overhead: the same 96 requests, in the same batches, once in a loop that calls the renderer and
saves each picture as a PNG, once as the render stage of a comparison; both load the model, in one
process, one after the other, as often as --repeats says. Wall-clock seconds and the process's own
seconds of the processor, which a busy machine does not lengthen; medians, and their ratio.

The workers: each preset's pictures by one worker, which is this process, and by two processes, from
when every worker has done a batch, and so has loaded its model, to the end; pictures per minute,
and their ratio. It says something on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from threedis_core import DepthMap, DepthRequest, Layout, Regions, RenderBackend, RenderRequest
from threedis_core.compare import Means, compare
from threedis_core.files.png import png_bytes
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.judging.benchmarks import Benchmark
from threedis_core.plugin.registry import PluginRegistry

DEPTH = "pocket-scene"
SIZE, BATCH = 128, 4


def asked(layouts: int, presets: list[str], out: Path, steps: int | None) -> dict[str, Any]:
    """What the comparison is asked: its render stage alone."""
    return {
        "layouts": {"benchmark": "pocket-test", "options": {"count": layouts}},
        "renderers": presets,
        "depth_models": DEPTH,
        "seeds": [0, 1],
        "batch_size": BATCH,
        "steps": steps,
        "out": out,
        "stages": ("render",),
    }


def pictures_of(registry: PluginRegistry, layouts: int) -> list[tuple[Layout, int]]:
    """The pictures of the comparison, layout by layout."""
    options = {"count": layouts}
    chosen = registry.choose(Benchmark, "pocket-test", options).backend.layouts()
    return [(layout, seed) for layout in chosen for seed in (0, 1)]


def loop(registry: PluginRegistry, layouts: int, preset: str, out: Path, steps: int | None) -> None:
    """What a person would write: make the depth maps, call the renderer batch by batch, save."""
    out.mkdir()
    pictures = pictures_of(registry, layouts)
    depths = depth_maps(registry, [layout for layout, seed in pictures if seed == 0])
    backend: RenderBackend = registry.renderer(preset)
    requests = [
        RenderRequest(
            layout, depths[number // 2], regions_of(layout), seed, SIZE, SIZE, steps=steps
        )
        for number, (layout, seed) in enumerate(pictures)
    ]
    for start in range(0, len(requests), BATCH):
        for number, result in enumerate(backend.render(requests[start : start + BATCH])):
            (out / f"{start + number}.png").write_bytes(png_bytes(result.image))
    backend.close()


def depth_maps(registry: PluginRegistry, layouts: list[Layout]) -> list[DepthMap]:
    """The exact depth of each layout."""
    model = registry.depth_model(DEPTH)
    return [model.generate([DepthRequest(one, 0, SIZE, SIZE)])[0].rounded() for one in layouts]


def regions_of(layout: Layout) -> Regions:
    """The boxes of a layout."""
    return Regions.from_layout(layout, SIZE, SIZE)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock and of the processor that ``work`` takes."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def overhead(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Loop and comparison, one after the other."""
    torch.set_num_threads(1)  # as many as the comparison has
    registry, preset = load_plugins(), arguments.preset[0]
    # Libraries are imported, and what torch does once is done, before anything is measured.
    loop(registry, 2, preset, folder / "warm", 2)
    compare(**asked(2, [preset], folder / "warm-compare", 2))
    took: dict[str, list[tuple[float, float]]] = {"loop": [], "compare": []}
    for turn in range(arguments.repeats):
        out = folder / f"turn-{turn}"
        by_hand = partial(loop, registry, arguments.layouts, preset, out, arguments.steps)
        took["loop"].append(timed(by_hand))
        settings = asked(arguments.layouts, [preset], out / "compare", arguments.steps)
        took["compare"].append(timed(partial(compare, **settings)))
    median = {
        how: [statistics.median(each) for each in zip(*times, strict=True)]
        for how, times in took.items()
    }
    return [
        {
            "what": "overhead",
            "preset": preset,
            "pictures": arguments.layouts * 2,
            "clock": {how: seconds[0] for how, seconds in median.items()},
            "processor": {how: seconds[1] for how, seconds in median.items()},
            "clock_ratio": median["compare"][0] / median["loop"][0],
            "processor_ratio": median["compare"][1] / median["loop"][1],
        }
    ]


def workers(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One worker process and several, preset by preset."""
    rows: list[dict[str, Any]] = []
    for preset in arguments.preset:
        speed: dict[int, float] = {}
        for count in (1, arguments.workers):
            out = folder / f"{preset}-{count}"
            settings = asked(arguments.layouts, [preset], out, arguments.steps)
            compare(**settings, means=Means(workers=count))
            speed[count] = per_minute(out)
        rows.append(
            {
                "what": "workers",
                "preset": preset,
                "pictures": arguments.layouts * 2,
                "per_minute": speed,
                "ratio": speed[arguments.workers] / speed[1],
                "load": os.getloadavg()[0],
            }
        )
    return rows


def per_minute(out: Path) -> float:
    """Pictures a minute, from when every worker has done a batch, and so has its model, on."""
    lines = [
        json.loads(line)
        for file in (out / "events").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    done = [
        (datetime.fromisoformat(line["time"]).timestamp(), line["worker"])
        for line in lines
        if (line["kind"], line["stage"]) == ("done", "render")
    ]
    begun = max(min(at for at, who in done if who == worker) for _, worker in done)
    last = [at for at, _ in done if at > begun + 0.1]  # a batch's pictures are told together
    return len(last) / (max(last) - begun) * 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--layouts", type=int, default=48)
    parser.add_argument("--preset", nargs="+", default=["pocket-sd15"])
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THREEDIS_CACHE"] = str(Path(folder) / "cache")
        measure = workers if arguments.workers else overhead
        rows = measure(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(rows))
        return
    for row in rows:
        if row["what"] == "overhead":
            print(f"{row['preset']}, {row['pictures']} pictures, medians of {arguments.repeats}:")
            for kind in ("clock", "processor"):
                told = ", ".join(f"{how} {took:.1f} s" for how, took in row[kind].items())
                print(f"  {kind}: {told}, ratio {row[f'{kind}_ratio']:.3f}")
        else:
            told = ", ".join(
                f"{count} worker{'s' if count > 1 else ''} {speed:.1f}"
                for count, speed in row["per_minute"].items()
            )
            print(f"{row['preset']}: pictures a minute: {told}; ratio {row['ratio']:.2f}", end="")
            print(f" (load of the machine {row['load']:.1f})")


if __name__ == "__main__":
    main()
