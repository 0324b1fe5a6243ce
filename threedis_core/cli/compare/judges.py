"""``threedis compare labels`` and ``agreement``: are the judges of a comparison right?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from threedis_core.cli import streams
from threedis_core.cli.arguments import AsJson
from threedis_core.cli.progress import progress_bars
from threedis_core.cli.state import state_of
from threedis_core.errors import OptionError

if TYPE_CHECKING:
    from threedis_core.compare.folder import CompareFolder
    from threedis_core.compare.plan.models import ComparePlan

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of a comparison.")]
MetricName = Annotated[
    str | None, typer.Option("--metric", help="Whose verdicts. Default: the primary figure's.")
]


def labels_command(
    context: typer.Context,
    folder: Folder,
    metric: MetricName = None,
    count: Annotated[int, typer.Option(min=1, max=5000, help="How many instances.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Write labels.html: instances to label by hand, to see how often the judge is right.

    It works offline, and tells neither system nor verdict. Save the labels there, then:
    threedis compare agreement FOLDER --labels labels.json
    """
    from threedis_core.compare.labels.sample import choose_instances, label_page
    from threedis_core.files.atomic import write_atomically

    place, plan, name = _opened(folder, metric)
    judge = state_of(context).registry.metric(name, plan.metrics[name])
    chosen = choose_instances(place, plan, name, judge, count, seed)
    page = place.path / "labels.html"
    write_atomically(page, label_page(place, plan, chosen))
    streams.echo(page)


def agreement_command(
    context: typer.Context,
    folder: Folder,
    labels: Annotated[
        Path | None, typer.Option(help="Labels by hand, saved from labels.html.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="A second detector, whose findings are in the folder.")
    ] = None,
    metric: MetricName = None,
    as_json: AsJson = False,
) -> None:
    """Say how often a metric agrees with a person, or with itself reading another detector.

    Of the instances: both right, only the first judge, only the second, neither; the share on which
    they agree with its 95 % interval over layouts, and Cohen's kappa.
    """
    from threedis_core.compare.labels.agreement import detectors_agreement
    from threedis_core.compare.labels.reading import people_agreement, read_labels

    if (labels is None) == (detector is None):
        raise OptionError("give either --labels FILE or --detector NAME")
    place, plan, name = _opened(folder, metric)
    registry = state_of(context).registry
    if labels is not None:
        judge = registry.metric(name, plan.metrics[name])
        rows = {"labels": people_agreement(place, plan, name, judge, read_labels(labels))}
    else:
        with progress_bars() as progress:
            rows = detectors_agreement(place, plan, name, str(detector), registry, progress)
    document = {row: agreement.to_dict() for row, agreement in rows.items()}
    if as_json:
        typer.echo(json.dumps(document, indent=1))
        return
    for row, told in document.items():
        streams.echo(f"{row}: {_line(told)}")


def _opened(folder: Path, metric: str | None) -> tuple[CompareFolder, ComparePlan, str]:
    from threedis_core.compare.folder import CompareFolder

    place = CompareFolder(folder)
    plan = place.read_plan()
    name = metric or (plan.primary or "").partition(".")[0]
    if name not in plan.metrics:
        known = ", ".join(plan.metrics) or "none"
        raise OptionError(f"the comparison has no metric '{name}'; it has: {known}", path="metric")
    return place, plan, name


def _line(told: dict[str, Any]) -> str:
    if not told["instances"]:
        return "nothing that both have judged"
    interval = (
        "" if told["low"] is None else f" [{100 * told['low']:.1f}, {100 * told['high']:.1f}]"
    )
    kappa = "-" if told["kappa"] is None else f"{told['kappa']:.2f}"
    return (
        f"agree {100 * told['agree']:.1f} %{interval}, kappa {kappa}; of {told['instances']} "
        f"instances both {told['both']}, first only {told['first_only']}, "
        f"second only {told['second_only']}, neither {told['neither']}"
    )
