"""Read labels back, and see how often the judge agrees with a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.labels.agreement import Agreement, Verdict, verdict_figure
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.results import read_results
from threedis_core.errors import OptionError
from threedis_core.files.documents import read_document
from threedis_core.files.printable import printable
from threedis_core.plugin.judging.interfaces import Metric


class Label(BaseModel):
    """What a person says of an instance: it is right, it is not, or it cannot be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    instance: Annotated[int, Field(strict=True, ge=0)]
    label: Literal["yes", "no", "unsure"]


class LabelFile(BaseModel):
    """The file that the page gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    labels: tuple[Label, ...]


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read a file of labels.

    Raises:
        OptionError: It is none.
    """
    document: Any = read_document(path, OptionError)
    try:
        return LabelFile.model_validate(document).labels
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise OptionError(
            f"{printable(path)}: no labels as the page of 'threedis compare labels' gives them: "
            f"{place}: {printable(first['msg'], 100)}",
            file=path,
        ) from None


def people_agreement(
    folder: CompareFolder,
    plan: ComparePlan,
    name: str,
    metric: Metric,
    labels: tuple[Label, ...],
) -> Agreement:
    """How a metric's verdicts, the first judge, agree with a person's, the second.

    Labels that say "unsure" are left out.

    Raises:
        OptionError: A label is of a picture that this comparison does not have or has not scored.
    """
    key = verdict_figure(metric).value_key
    scores = read_results(folder, plan, name, metric).scores
    verdicts: list[Verdict] = []
    for one in labels:
        score = scores.get(one.job)
        if score is None or one.instance >= len(score.instances):
            raise OptionError(
                f"the label of job {printable(one.job, 60)}, instance {one.instance}, is of no "
                "picture that is scored here; are the labels of another comparison?"
            )
        value = score.instances[one.instance][key]
        if one.label != "unsure" and value is not None:
            layout = plan.jobs_by_key[one.job].layout
            verdicts.append(Verdict(bool(value), one.label == "yes", layout))
    return Agreement.of(verdicts)
