"""What the hook costs: renderers against their stock pipelines, in one process.

    python benchmarks/bench_hook.py [--model pocket-sd15 pocket-flux] [--instances 0 2 4 8]

For each model and number of instances one picture is rendered with the hook on and by the stock
pipeline, driven directly with the very same loaded model. They take turns, after one turn that does
not count; a figure is the median. "step" is the mean step after the first one, without texts and
decoding; "picture" is all of it, each side embedding its own texts. The stock side reads the global
prompt alone; one with a T5 reads as many of its tokens as the renderer keeps of each prompt.

A model is the name of a renderer or preset, or a local folder for --renderer; by default every
pocket preset that is installed. On a CPU the processor time of one thread is measured.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rows import print_rows
from turns import now

from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.samples import sample_request
from threedis_diffusers.backend import DiffusersRenderer
from threedis_diffusers.joint.controlnet import JointControlNetRenderer
from threedis_sd.backend import UNetRenderer
from threedis_sd.controlnets import depth_arguments

Tick = Callable[[], None]
FEWEST_STEPS = 2
HEADER = (
    f"{'model':<13} {'N':>2} {'step: stock':>12} {'hook':>9} {'ratio':>6}"
    f" {'picture: stock':>15} {'hook':>8} {'ratio':>6}"
)
ROW = (
    "{model:<13} {instances:2d} {stock_step_ms:9.1f} ms {hook_step_ms:6.1f} ms {step_ratio:6.2f}"
    " {stock_picture_s:13.3f} s {hook_picture_s:6.3f} s {picture_ratio:6.2f}"
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
    parser.add_argument("--model", nargs="+", help="default: every pocket preset")
    parser.add_argument("--renderer", default="sd15", help="the renderer of a local folder")
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 2, 4, 8], help="N")
    parser.add_argument("--size", type=int, help="pixels on a side; default: the model's own")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.steps < FEWEST_STEPS:
        parser.error(f"--steps is {arguments.steps}; expected {FEWEST_STEPS} or more")
    return arguments


def measurements(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each model and number of instances."""
    for model in arguments.model or pocket_presets():
        renderer = make_renderer(model, arguments.renderer, arguments.steps)
        width, height = renderer.capabilities.default_size
        size = (arguments.size or width, arguments.size or height)
        for instances in arguments.instances:
            request = sample_request(instances, size=size)
            figures = measure(renderer, request, arguments.repeats)
            yield {"model": Path(model).name, "instances": instances, **figures}
        renderer.close()


def pocket_presets() -> list[str]:
    """Every installed pocket preset of a renderer."""
    plugins = load_plugins()
    found = [name for name in plugins.names("renderer") if name.startswith("pocket-")]
    if not found:
        raise SystemExit(
            "no pocket preset is installed: install plugins/threedis-pocket, or --model"
        )
    return found


def make_renderer(model: str, renderer: str, steps: int) -> DiffusersRenderer:
    """The renderer to measure: of that name, or of a local folder."""
    options: dict[str, Any] = {"steps": steps}
    name = model
    if Path(model).is_dir():
        name, options = renderer, {**options, "model": model}
    backend = load_plugins().renderer(name, options)
    if not isinstance(backend, DiffusersRenderer):
        raise SystemExit(f"'{name}' drives no diffusers pipeline; there is nothing to compare with")
    return backend


def measure(renderer: DiffusersRenderer, request: RenderRequest, repeats: int) -> dict[str, float]:
    """Medians of both sides for one request, and their ratios."""
    facts = renderer.render([request])[0].provenance  # the turn that does not count
    loaded = renderer.load()  # the very same model
    sides = {
        "stock": partial(stock_picture, renderer, loaded.pipeline, request, facts),
        "hook": partial(hooked_picture, renderer, request),
    }
    sides["stock"](tick=lambda: None)
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            times[name].append(clocked(side, loaded.device))
    medians = {
        name: [statistics.median(column) for column in zip(*found, strict=True)]
        for name, found in times.items()
    }
    (stock_step, stock_picture_s), (hook_step, hook_picture_s) = medians["stock"], medians["hook"]
    return {
        "stock_step_ms": stock_step * 1e3,
        "hook_step_ms": hook_step * 1e3,
        "step_ratio": hook_step / stock_step,
        "stock_picture_s": stock_picture_s,
        "hook_picture_s": hook_picture_s,
        "picture_ratio": hook_picture_s / stock_picture_s,
    }


def clocked(side: Callable[..., Any], device: torch.device) -> tuple[float, float]:
    """Seconds of a mean step after the first, and of the whole picture."""
    ends: list[float] = []
    start = now(device)
    side(tick=lambda: ends.append(now(device)))
    return (ends[-1] - ends[0]) / (len(ends) - 1), now(device) - start


def hooked_picture(renderer: DiffusersRenderer, request: RenderRequest, tick: Tick) -> None:
    """Render a request, telling each step's end."""
    renderer.render([request], lambda stage, done, total: tick())


def stock_picture(
    renderer: DiffusersRenderer,
    pipeline: Any,
    request: RenderRequest,
    facts: Mapping[str, Any],
    tick: Tick,
) -> None:
    """The stock pipeline's picture of a request, telling each step's end."""

    def step_end(*_: Any) -> dict[str, Any]:
        tick()
        return {}

    pipeline(
        request.layout.prompt,
        **stock_arguments(renderer, pipeline, request, facts),
        width=request.width,
        height=request.height,
        num_inference_steps=facts["steps"],
        generator=torch.Generator().manual_seed(request.seed),
        callback_on_step_end=step_end,
    )


def stock_arguments(
    renderer: DiffusersRenderer, pipeline: Any, request: RenderRequest, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """How a family's stock pipeline is given the depth map and its text's limits."""
    depth = request.depth.to_image()
    guided = {"guidance_scale": facts["guidance"]}
    negative = {"negative_prompt": request.layout.negative_prompt}
    if isinstance(renderer, UNetRenderer):
        return depth_arguments(pipeline.controlnet, [depth]) | negative | guided
    given: dict[str, Any] = {
        "control_image": depth,
        "max_sequence_length": facts["tokens_per_prompt"],
    }
    if isinstance(renderer, JointControlNetRenderer):
        given["controlnet_conditioning_scale"] = renderer.options.controlnet_scale
        if renderer.negative_rows == "apart":
            read = negative if facts["guidance"] > 1 else {}
            return given | read | {"true_cfg_scale": facts["guidance"]}
    return given | guided


if __name__ == "__main__":
    main()
