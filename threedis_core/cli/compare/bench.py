"""``threedis bench coco-mig|coco``: published benchmarks, as comparisons."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from threedis_core.cli import arguments
from threedis_core.cli.compare import options
from threedis_core.cli.compare.options import EngineName
from threedis_core.cli.compare.stages import carry_out_config
from threedis_core.errors import OptionError

Annotations = Annotated[
    Path, typer.Option(help="The benchmark's file, as published; nothing of it comes with us.")
]
Renderers = Annotated[
    list[str],
    typer.Option("--renderer", metavar="NAME", help="Renderer or preset; repeat for several."),
]
DepthModelName = Annotated[str, typer.Option(help="What makes the depth maps.")]
DetectorName = Annotated[
    str, typer.Option(help="What finds the instances; see 'threedis plugins'.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="The first so many layouts alone.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Most pictures a renderer works on at once.")]
REAL_DEPTH, REAL_DETECTOR, SIDE = "ldm3d", "grounding-dino", 512


class Hooks(StrEnum):
    """Whether regions follow their own prompts; both: a row of the table each."""

    ON = "on"
    OFF = "off"
    BOTH = "both"


HookRows = Annotated[
    Hooks, typer.Option("--hook", help="Let each region follow its own prompt; both: a row each.")
]


def add_bench_commands(bench: typer.Typer) -> None:
    """Add the commands to the group ``bench``."""
    bench.command("coco-mig")(coco_mig_command)
    bench.command("coco")(coco_command)


def coco_mig_command(
    context: typer.Context,
    annotations: Annotations,
    renderers: Renderers,
    depth_model: DepthModelName = REAL_DEPTH,
    detector: DetectorName = REAL_DETECTOR,
    hook: HookRows = Hooks.ON,
    seeds: arguments.Seeds = None,
    limit: Limit = None,
    size: arguments.Size = None,
    batch_size: BatchSize = 4,
    out: options.Out = Path("runs/bench-coco-mig"),
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    shard: options.ShardOption = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: arguments.AsJson = False,
) -> None:
    """COCO-MIG: ISR, mIoU and SR, overall and by level, as published. A comparison underneath."""
    carry_out_config(context, _config(context.params, "coco-mig"))


def coco_command(
    context: typer.Context,
    annotations: Annotations,
    renderers: Renderers,
    depth_model: DepthModelName = REAL_DEPTH,
    detector: DetectorName = REAL_DETECTOR,
    hook: HookRows = Hooks.ON,
    seeds: arguments.Seeds = None,
    limit: Limit = None,
    size: arguments.Size = None,
    batch_size: BatchSize = 4,
    out: options.Out = Path("runs/bench-coco"),
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    shard: options.ShardOption = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: arguments.AsJson = False,
) -> None:
    """COCO annotations as layouts: AP of the boxes, by our definition. A comparison underneath."""
    carry_out_config(context, _config(context.params, "position"))


def _config(given: dict[str, Any], metric: str) -> dict[str, Any]:
    """The fields of the comparison's config."""
    width, height = arguments.parse_size(given["size"]) if given["size"] else (SIDE, SIDE)
    renderers: dict[str, dict[str, Any]] = {}
    for name in given["renderers"]:
        if "@" in name:
            raise OptionError(
                f"--renderer {name:.80}: a benchmark takes no labels; write the config of a "
                "comparison for variants"
            )
        hook = Hooks(given["hook"])
        if hook is not Hooks.OFF:
            renderers[name] = {}
        if hook is not Hooks.ON:
            renderers[f"{name}@off"] = {"control": "none"}
    return {
        "layouts": {"file": str(given["annotations"]), "limit": given["limit"]},
        "depth_models": given["depth_model"],
        "renderers": renderers,
        "seeds": arguments.parse_seeds(given["seeds"] or ["0"]),
        "metrics": {metric: {"detector": given["detector"]}},
        "width": width,
        "height": height,
        "batch_size": given["batch_size"],
        "out": given["out"],
    }
