"""``threedis tune``: which lowering ``attention=auto`` is to pick on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from threedis_core.cli import arguments, streams
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError
from threedis_core.files.atomic import check_writable
from threedis_core.files.printable import printable

if TYPE_CHECKING:
    from threedis_core.attention.tuning import Records
    from threedis_diffusers.joint.tuning import Outcome, Tuning

LOWERINGS = ("dense", "segments", "block_mask")
COUNTS = [4, 8, 16]


def tune_command(
    context: typer.Context,
    renderer: Annotated[
        str, typer.Option(metavar="NAME", help="flux, or a preset of it: says device and model.")
    ] = "flux",
    settings: arguments.OptionSettings = None,
    size: arguments.Size = None,
    instances: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Instances; repeat for several. Default: 4, 8 and 16."),
    ] = None,
    tokens: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=512,
            help="Text tokens of a prompt; repeat for several. Default: the renderer's.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each lowering.")] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be measured, and what auto picks now.")
    ] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Forget every measurement; measure nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the ways to carry out FLUX's region plan here, so that attention=auto knows.

    The ways (dense, segments, block_mask) compute the same; which is fastest depends on the device,
    the picture's size, the instances and the phase (i2i: the first steps; text: the others). What
    wins is kept in the cache folder, for this device and version of torch, and a picture's
    provenance says that it was used. Loads no model.

    Example: threedis tune --renderer flux --size 1024 --instances 4 --tokens 16 --tokens 200
    """
    from threedis_core.attention.tuning import Records

    records = Records.of_the_user()
    if clear:
        count = records.clear()
        streams.echo(f"{records.file}: {count} measurement{'' if count == 1 else 's'} forgotten")
        return
    if not dry_run and records.file is not None:
        check_writable(records.file)
    tuning = _tuning(context, renderer, settings or [], size, instances or COUNTS, tokens or [])
    if dry_run:
        _tell_tasks(tuning, records)
        return
    outcomes: list[Outcome] = []
    if not as_json:
        what = f"{tuning.heads} heads of {tuning.head}, {tuning.tasks[0].setting.dtype}"
        streams.echo(f"{tuning.tasks[0].setting.device}: one attention call, {what}, ms")
        streams.echo(_line("N", "phase", "text", "image", "plain", *LOWERINGS, "fastest"))
    for outcome in tuning.measured(repeats):
        outcomes.append(outcome)
        records.keep([outcome.race])  # at once: what was measured before Ctrl-C stays
        if not as_json:
            _tell(outcome)
    if as_json:
        streams.echo(json.dumps([_document(outcome) for outcome in outcomes]))
    else:
        streams.echo(f"Kept in {records.file}; attention=auto uses it. Undo: threedis tune --clear")


def _tuning(
    context: typer.Context,
    name: str,
    settings: list[str],
    size: str | None,
    instances: list[int],
    tokens: list[int],
) -> Tuning:
    from threedis_core.run.config import RunConfig, registered_name
    from threedis_diffusers.joint.renderer import JointRenderer
    from threedis_diffusers.joint.tuning import Tuning

    config = RunConfig().overridden({"renderers": [name]}).with_settings(settings)
    renderer = state_of(context).registry.renderer(registered_name(name), config.renderers[name])
    if not isinstance(renderer, JointRenderer):
        raise OptionError(
            f"--renderer {name}: its attention has no lowerings to choose from; expected one "
            "with joint attention, such as flux"
        )
    return Tuning(renderer, arguments.parse_size(size) if size else None, instances, tokens)


def _tell_tasks(tuning: Tuning, records: Records) -> None:
    """What would be measured, and what is picked as it is."""
    for task in tuning.tasks:
        chosen = tuning.picked(task, records)
        streams.echo(
            f"N = {task.setting.instances}, {task.phase} phase, {task.setting.text_tokens} text "
            f"and {task.setting.image_tokens} image tokens: auto picks {chosen.name} "
            f"({chosen.reason})"
        )
    streams.echo(f"Measurements would be kept in {records.file}")


def _tell(outcome: Outcome) -> None:
    setting, seconds = outcome.task.setting, outcome.race.seconds
    times = [f"{seconds[name] * 1e3:.1f}" if name in seconds else "-" for name in LOWERINGS]
    numbers = (str(setting.instances), outcome.task.phase, str(setting.text_tokens))
    plain = f"{outcome.plain * 1e3:.1f}"
    line = _line(*numbers, str(setting.image_tokens), plain, *times, outcome.race.fastest)
    streams.echo(line)
    for name, reason in outcome.failed.items():
        streams.warn(printable(f"{name} could not run: {reason}"))


def _line(*cells: str) -> str:
    widths = (3, 6, 6, 6, 9, 9, 9, 11, 11)
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _document(outcome: Outcome) -> dict[str, object]:
    return {
        **asdict(outcome.task.setting),
        "plain_s": outcome.plain,
        "seconds": dict(outcome.race.seconds),
        "fastest": outcome.race.fastest,
        "failed": outcome.failed,
    }
