"""What the layout adapter costs: steps of a depth model with it on and off, in one process.

    python benchmarks/bench_adapter.py [--model pocket-depth] [--instances 1 2 4 8]

For each number of instances one depth map is made from text alone (no hook at all), with the
regional fusion in every layer, with the adapter in its own layers, and with both, as it is used.
They take turns, after one turn that does not count; a figure is the median of the mean step after
the first one. On a CPU the processor time of one thread is measured.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from rows import print_rows
from turns import now

from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import DepthRequest
from threedis_core.testing.samples import sample_layout
from threedis_core.values.layout import Layout
from threedis_ldm3d.depth_model import LDM3D

SIDES: dict[str, dict[str, Any]] = {
    "off": {"adapter": None, "fuser_steps": 0},
    "fusion": {"adapter": None, "fuser_steps": None},
    "adapter": {"adapter_steps": None, "fuser_steps": 0},
    "both": {"adapter_steps": None, "fuser_steps": None},
}
HEADER = f"{'N':>2} {'off':>9} {'fusion':>9} {'adapter':>9} {'both':>9} {'both / off':>11}"
ROW = (
    "{instances:2d} {off_ms:6.1f} ms {fusion_ms:6.1f} ms {adapter_ms:6.1f} ms {both_ms:6.1f} ms"
    " {ratio:11.2f}"
)


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    print_rows(measurements(arguments), HEADER, ROW, arguments.json)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="pocket-depth", help="a depth model like ldm3d")
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 4, 8], help="N")
    parser.add_argument("--size", type=int, default=128, help="pixels on a side")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.steps < 2:
        parser.error(f"--steps is {arguments.steps}; expected 2 or more")
    return arguments


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each number of instances."""
    sides = {side: make_model(arguments, options) for side, options in SIDES.items()}
    for instances in arguments.instances:
        request = DepthRequest(named(sample_layout(instances)), 0, arguments.size, arguments.size)
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(arguments.repeats + 1):
            for side, model in sides.items():
                times[side].append(step(model, request))
        medians = {side: statistics.median(found[1:]) for side, found in times.items()}
        figures = {f"{side}_ms": seconds * 1e3 for side, seconds in medians.items()}
        ratio = medians["both"] / medians["off"]
        yield {"instances": instances, **figures, "ratio": ratio}


def make_model(arguments: argparse.Namespace, options: dict[str, Any]) -> LDM3D:
    """The depth model with one side's options."""
    chosen = {**options, "steps": arguments.steps}
    model = load_plugins().depth_model(arguments.model, chosen)
    if not isinstance(model, LDM3D):
        raise SystemExit(f"'{arguments.model}' has no layout adapter; name one like ldm3d")
    return model


def named(layout: Layout) -> Layout:
    """The layout with a noun that every depth model knows, the pocket's too."""
    cube = {"label": "cube", "prompt": "a cube"}
    cubes = [instance.model_copy(update=cube) for instance in layout.instances]
    return layout.model_copy(update={"instances": tuple(cubes)})


def step(model: LDM3D, request: DepthRequest) -> float:
    """Seconds of a mean step after the first."""
    device = model.load().device
    ends: list[float] = []
    model.generate([request], lambda stage, done, total: ends.append(now(device)))
    return (ends[-1] - ends[0]) / (len(ends) - 1)


if __name__ == "__main__":
    main()
