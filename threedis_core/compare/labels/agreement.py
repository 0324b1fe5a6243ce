"""How often two judges say the same of an instance: two detectors, or a judge and a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import ComparePlan
from threedis_core.compare.scoring.batches import StoredPicture, score_batch
from threedis_core.compare.scoring.results import read_results
from threedis_core.compare.scoring.stored import read_score
from threedis_core.compare.statistics.estimates import Estimate
from threedis_core.compare.statistics.layouts import mean_of_layouts
from threedis_core.errors import OptionError, ThreeDISError
from threedis_core.plugin.judging.interfaces import Figure, Metric, PictureScore
from threedis_core.plugin.progress import Progress, silent
from threedis_core.plugin.registry import PluginRegistry


@dataclass(frozen=True)
class Verdict:
    """What two judges say of one instance, and the layout that it is of."""

    first: bool
    second: bool
    layout: str


@dataclass(frozen=True)
class Agreement:
    """How two judges agree.

    Args:
        both: Instances that both call right.
        first_only: That only the first does.
        second_only: That only the second does.
        neither: That neither does.
        share: The share on which they agree, with the interval of layouts drawn again.
    """

    both: int
    first_only: int
    second_only: int
    neither: int
    share: Estimate

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Agreement:
        """Count what two judges say of the same instances."""
        pairs = [(one.first, one.second) for one in verdicts]
        same = [float(one.first == one.second) for one in verdicts]
        return cls(
            pairs.count((True, True)),
            pairs.count((True, False)),
            pairs.count((False, True)),
            pairs.count((False, False)),
            mean_of_layouts(same, [one.layout for one in verdicts]),
        )

    @property
    def instances(self) -> int:
        """How many both have judged."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond chance; None where it is not defined."""
        count = self.instances
        if not count:
            return None
        first, second = self.both + self.first_only, self.both + self.second_only
        chance = (first * second + (count - first) * (count - second)) / count**2
        observed = (self.both + self.neither) / count
        return None if chance == 1 else (observed - chance) / (1 - chance)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "instances": self.instances,
            "both": self.both,
            "first_only": self.first_only,
            "second_only": self.second_only,
            "neither": self.neither,
            "agree": self.share.value,
            "low": self.share.interval.low,
            "high": self.share.interval.high,
            "kappa": self.kappa,
        }


def verdict_figure(metric: Metric) -> Figure:
    """The figure of a metric that says of each instance whether it is right.

    Raises:
        OptionError: It has none.
    """
    for figure in metric.figures:
        if figure.per == "instance" and figure.share:
            return figure
    raise OptionError("the metric judges no instances one by one; choose coco-mig or pocket")


def detectors_agreement(
    folder: CompareFolder,
    plan: ComparePlan,
    name: str,
    second: str,
    registry: PluginRegistry,
    progress: Progress = silent,
) -> dict[str, Agreement]:
    """How the verdicts of a metric change if it reads another detector; needs no model.

    Args:
        folder: The comparison's folder, in which both detectors have looked at the pictures.
        plan: Its plan.
        name: A metric of the plan that judges instances one by one.
        second: The other detector.
        registry: The plugins.
        progress: Told of each picture.
    Returns:
        The agreement by system.
    Raises:
        OptionError: The plan has no such metric, or no findings of the other detector are there.
    """
    metric, other = _both(plan, name, second, registry)
    key = verdict_figure(metric).value_key
    results = read_results(folder, plan, name, metric)
    found: dict[str, list[Verdict]] = {system.name: [] for system in plan.systems}
    for done, job in enumerate(plan.jobs, start=1):
        score = results.scores.get(job.key)
        rescored = None if score is None else _rescored(folder, plan, job.key, name, other, second)
        if score is not None and rescored is not None:
            found[job.system] += [
                Verdict(bool(a[key]), bool(b[key]), job.layout)
                for a, b in zip(score.instances, rescored.instances, strict=True)
                if a[key] is not None and b[key] is not None
            ]
        progress("agreement", done, len(plan.jobs))
    if not any(found.values()):
        raise OptionError(
            f"no picture was judged with '{second}'; add it to the detectors of the config and run "
            "'threedis compare detect'"
        )
    return {system: Agreement.of(verdicts) for system, verdicts in found.items() if verdicts}


def _both(
    plan: ComparePlan, name: str, second: str, registry: PluginRegistry
) -> tuple[Metric, Metric]:
    if name not in plan.metrics:
        known = ", ".join(plan.metrics) or "none"
        raise OptionError(f"the comparison has no metric '{name}'; it has: {known}")
    options = plan.metrics[name]
    metric = registry.metric(name, options)
    if metric.detector in (None, second):
        raise OptionError(f"'{name}' reads {metric.detector}; name another detector than that")
    return metric, registry.metric(name, {**options, "detector": second})


def _rescored(
    folder: CompareFolder, plan: ComparePlan, key: str, name: str, metric: Metric, detector: str
) -> PictureScore | None:
    layout = plan.layouts_by_id[plan.jobs_by_key[key].layout].layout
    try:
        image = folder.picture(key).read_bytes()
        findings = folder.detection(detector, key).read_bytes()
        if layout is None:
            return None
        stored = StoredPicture(key, layout, image, findings)
        return read_score(score_batch(name, metric, [stored])[0])
    except (OSError, ThreeDISError):
        return None
