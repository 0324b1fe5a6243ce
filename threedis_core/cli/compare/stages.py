"""``threedis compare CONFIG``, and its stages alone: render, detect, score."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from threedis_core.cli import streams
from threedis_core.cli.arguments import AsJson
from threedis_core.cli.compare import options
from threedis_core.cli.compare.options import EngineName, parse_shard
from threedis_core.cli.compare.told import tell_estimate, tell_result, told_lines
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError, RenderError

if TYPE_CHECKING:
    from threedis_core.compare.call import Comparison, Stage
    from threedis_core.compare.opening import Asked
    from threedis_core.compare.work.means import Means
    from threedis_core.plugin.registry import PluginRegistry

EXAMPLES = """Examples:

threedis compare compare.yaml --dry-run

threedis compare compare.yaml --workers 2

threedis compare render compare.yaml --shard 3/8

threedis compare score runs/compare

threedis compare compare.yaml --engine ray --address auto"""


def all_command(
    context: typer.Context,
    what: options.What,
    out: options.Out = None,
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    shard: options.ShardOption = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Compare renderers: make the pictures, look at them, score them, write tables and the page.

    The same command goes on where it was stopped.
    """
    stages: tuple[Stage, ...] = ("render", "detect", "score")
    _carry_out(context, stages)


def render_command(
    context: typer.Context,
    what: options.What,
    out: options.Out = None,
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    shard: options.ShardOption = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make what is missing of the depth maps and pictures of a comparison."""
    _carry_out(context, ("render",))


def detect_command(
    context: typer.Context,
    what: options.What,
    out: options.Out = None,
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    shard: options.ShardOption = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Let the detectors look at the pictures that are there; what they find is stored."""
    _carry_out(context, ("detect",))


def score_command(
    context: typer.Context,
    what: options.What,
    out: options.Out = None,
    dry_run: options.DryRun = False,
    workers: options.Workers = None,
    engine: options.EngineOption = EngineName.LOCAL,
    address: options.Address = None,
    retry_failed: options.RetryFailed = False,
    wait: options.Wait = False,
    as_json: AsJson = False,
) -> None:
    """Score what the detectors have found, and write tables and the page; needs no detector."""
    _carry_out(context, ("score",))


def schema_command() -> None:
    """Print the JSON schema of a comparison's config, for editors and forms."""
    from threedis_core.compare.plan.config import CompareConfig
    from threedis_core.files.schemas import file_schema

    typer.echo(json.dumps(file_schema(CompareConfig), indent=2))


def carry_out_config(context: typer.Context, settings: dict[str, Any]) -> None:
    """Do all stages of a comparison whose config is ``settings``, as a command's options say."""
    from threedis_core.compare.opening import asked_by
    from threedis_core.compare.plan.config import CompareConfig
    from threedis_core.plugin.options import validate_options

    def asked() -> Asked:
        config = validate_options(CompareConfig, settings, "the command line")
        return asked_by(config, state_of(context).registry)

    # A share of the jobs ends before the scores, which are those of all.
    _carry_out_asked(context, ("render", "detect", "score"), asked)


def _carry_out(context: typer.Context, stages: tuple[Stage, ...]) -> None:
    """Do some stages of what a command's argument names."""
    given: dict[str, Any] = context.params
    registry = state_of(context).registry
    planned = "render" in stages
    _carry_out_asked(
        context, stages, lambda: _asked(given["what"], given["out"], registry, planned)
    )


def _carry_out_asked(
    context: typer.Context, stages: tuple[Stage, ...], plan_it: Callable[[], Asked]
) -> None:
    """Do what a command's parameters say; those of all commands have the same names."""
    from threedis_core.compare.call import carry_out
    from threedis_core.compare.estimate import estimate
    from threedis_core.compare.work.means import Means

    given: dict[str, Any] = context.params
    means = Means(
        engine=EngineName(given["engine"]).value,
        workers=given["workers"],
        address=given["address"],
        shard=parse_shard(given.get("shard")),
        retry_failed=given["retry_failed"],
        wait=given["wait"],
    )
    registry = state_of(context).registry
    with streams.plugins_print_to_stderr(), told_lines() as told:
        told("preparing", 0, 0)
        asked = plan_it()
        told("preparing", 1, 1)
        plan = asked.there() or asked.now
        assert plan is not None
        made = None
        if not given["dry_run"]:
            made = carry_out(asked, registry, stages, means, told, streams.warn)
    if made is None:
        tell_estimate(plan, estimate(asked.folder, plan), means.workers or 1)
        return
    _tell(made, means, given["as_json"])


def _asked(what: Path, out: Path | None, registry: PluginRegistry, planned: bool) -> Asked:
    from threedis_core.compare.opening import asked_again, asked_by
    from threedis_core.compare.plan.config import CompareConfig

    if what.is_dir():
        if out is not None:
            raise OptionError("--out names the folder of a new comparison; this one is there")
        return asked_again(what, registry, planned)
    config = CompareConfig.load(what)
    return asked_by(config if out is None else config.model_copy(update={"out": out}), registry)


def _tell(made: Comparison, means: Means, as_json: bool) -> None:
    """Print what became of it.

    Raises:
        RenderError: Something failed.
    """
    if as_json:
        document = {
            "folder": str(made.folder),
            "systems": {name: asdict(one) for name, one in made.systems.items()},
            "failed": [asdict(one) for one in made.failed],
            "problems": list(made.problems),
        }
        typer.echo(json.dumps(document, indent=2))
    else:
        tell_result(made)
    if means.shard.count > 1:
        streams.note("when all shards have done their share: threedis compare score FOLDER")
    if made.failed:
        raise RenderError(
            f"{len(made.failed)} jobs failed, and are recorded in {made.folder}/failures; the "
            "same command with --retry-failed tries them again",
            hint="--retry-failed tries them again",
        )
    if made.problems:
        raise RenderError(made.problems[0])
