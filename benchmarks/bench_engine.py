"""What an engine costs: a render with a kept model against a bare call of its stock pipeline.

    python benchmarks/bench_engine.py [--model pocket-sd15 pocket-flux] [--instances 0 4]

The engine has rendered once before, so that its model is loaded; the stock pipeline is another copy
of the model, driven directly. They take turns, after one turn that does not count; a figure is the
median. Without instances nothing is hooked in, and both compute the same. "render" is all of
``Engine.render``: checks, regions, picture, provenance; nothing is written. The depth map is given.
"previews" is the same with a preview every five steps, against the same without.

"cancel" is the time from the step after which ``Job.cancel`` is called until the model is idle
again, in steps of the same job: the longest of several jobs, against the longest of their steps.
The step that is under way goes on to its end. On a CPU processor time is measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from bench_hook import make_renderer, pocket_presets, stock_picture
from rows import print_rows
from turns import now, take_turns

from threedis_core import Cancelled, Engine, Preview, Previews
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.samples import sample_request

HEADER = (
    f"{'model':<13} {'N':>2} {'bare call':>11} {'render':>9} {'ratio':>6} {'previews':>9}"
    f" {'cancel':>12}"
)
ROW = (
    "{model:<13} {instances:2d} {bare_s:9.3f} s {render_s:7.3f} s {ratio:6.2f}"
    " {previews_ratio:9.2f} {cancel_steps:6.2f} steps"
)


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    arguments = parse()
    torch.set_num_threads(1)
    print_rows(measurements(arguments), HEADER, ROW, arguments.json)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", help="default: every pocket preset")
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 4], help="N")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=7, help="turns of each side")
    parser.add_argument("--cancels", type=int, default=5, help="jobs that are cancelled")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each model and number of instances."""
    for model in arguments.model or pocket_presets():
        renderer = make_renderer(model, model, arguments.steps)
        for instances in arguments.instances:
            request = sample_request(instances, size=renderer.capabilities.default_size)
            facts = renderer.render([request])[0].provenance
            pipeline = renderer.load().pipeline
            bare = partial(stock_picture, renderer, pipeline, request, facts, lambda: None)
            with Engine() as engine:
                settings = what_is_asked(model, request, arguments.steps)
                kept = partial(engine.render, **settings)
                device = torch.device(facts["device"])
                shown = partial(engine.render, **settings, previews=Previews(nobody))
                sides = {"bare": bare, "kept": kept, "shown": shown}
                times = take_turns(sides, arguments.repeats, device)
                cancels = [cancelled(engine, settings, n, device) for n in range(arguments.cancels)]
            yield {
                "model": model,
                "instances": instances,
                "bare_s": times["bare"],
                "render_s": times["kept"],
                "ratio": times["kept"] / times["bare"],
                "previews_ratio": times["shown"] / times["kept"],
                "cancel_steps": max(cancels),
            }
        renderer.close()


def nobody(preview: Preview) -> None:
    """Look at no preview."""


def what_is_asked(model: str, request: RenderRequest, steps: int) -> dict[str, Any]:
    """The arguments of ``Engine.render`` for the picture of a request."""
    return {
        "layout": request.layout,
        "depth": request.depth,
        "renderers": {model: {"steps": steps}},
        "seeds": [request.seed],
    }


def cancelled(engine: Engine, settings: dict[str, Any], number: int, device: torch.device) -> float:
    """Cancel a job as one of its steps begins; the time until its model is idle, in its steps."""
    ends: list[float] = []

    def note(stage: str, done: int, total: int) -> None:
        ends.append(now(device))

    job = engine.submit(**settings, progress=note)
    while len(ends) < 3 + number:
        time.sleep(0.0005)
    asked = ends[-1]
    job.cancel()
    while any(model.at_work for model in engine.models):
        time.sleep(0.0005)
    idle = now(device)
    try:
        job.result()
    except Cancelled:
        steps = [later - earlier for earlier, later in pairwise(ends)]
        return (idle - asked) / max(steps)
    raise SystemExit("the job was done before it could be cancelled; use more --steps")


if __name__ == "__main__":
    main()
