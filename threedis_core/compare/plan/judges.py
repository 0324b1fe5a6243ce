"""The metrics and detectors of a comparison, chosen and checked before anything is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from threedis_core.compare.plan.config import CompareConfig
from threedis_core.errors import InputError, OptionError, placed
from threedis_core.plugin.judging.interfaces import InstanceDetector, Metric
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.suggest import did_you_mean
from threedis_core.values.layout import Layout

ByName = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Judges:
    """Options of metrics and detectors by name, and the figure that is tested."""

    metrics: ByName
    detectors: ByName
    primary: str | None


def choose_judges(
    config: CompareConfig, registry: PluginRegistry, layouts: Sequence[Layout]
) -> Judges:
    """Make every metric, and every detector that one reads or that is asked for; loads nothing.

    Args:
        config: What is asked.
        registry: The plugins.
        layouts: What is to be scored.
    Raises:
        InputError: A name or an option that does not fit, a figure that no metric has, or a metric
            that can score none of the layouts.
        PluginError: A class cannot be used.
    """
    detectors: ByName = {}
    figures: list[str] = []
    for name, options in config.metrics.items():
        with placed(f"metrics.{name}"):
            metric = registry.choose(Metric, name, options).backend
            _check_layouts(metric, layouts)
            figures += [f"{name}.{figure.name}" for figure in metric.figures]
        if metric.detector is not None:
            detectors[metric.detector] = config.detectors.get(metric.detector, {})
    detectors |= config.detectors
    for name, options in detectors.items():
        with placed(f"detectors.{name}"):
            registry.choose(InstanceDetector, name, options)
    return Judges(dict(config.metrics), detectors, _primary(config.primary, figures))


def _check_layouts(metric: Metric, layouts: Sequence[Layout]) -> None:
    problems: list[InputError] = []
    for layout in layouts:
        try:
            metric.check_layout(layout)
        except InputError as error:
            problems.append(error)
    if problems and len(problems) == len(layouts):
        raise problems[0]


def _primary(asked: str | None, figures: Sequence[str]) -> str | None:
    if asked is None:
        return figures[0] if figures else None
    if asked not in figures:
        raise OptionError(
            f"primary is '{asked:.80}', which no metric here tells. There are: "
            f"{', '.join(figures) or 'none'}.{did_you_mean(asked, figures)}",
            code="wrong-value",
            path="primary",
        )
    return asked
