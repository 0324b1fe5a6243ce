"""How long each system's pictures took, by stage, and the most memory: as events tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from threedis_core.compare.folder import DEPTH, RENDER
from threedis_core.compare.plan.models import ComparePlan

LOADING = "loading"


@dataclass
class Times:
    """What the events of one system's jobs tell.

    Args:
        pictures: How many pictures they tell of.
        seconds: Their seconds by stage, summed; what rendering models took to load is "loading".
        memory: The most bytes in use; None if no event tells.
    """

    pictures: int = 0
    seconds: dict[str, float] = field(default_factory=dict[str, float])
    memory: int | None = None

    @property
    def seconds_per_picture(self) -> float | None:
        """Mean seconds of rendering a picture, loading left out."""
        return self.seconds.get(RENDER, 0.0) / self.pictures if self.pictures else None

    @property
    def per_picture(self) -> dict[str, float]:
        """Mean seconds by stage; loading is all there was, for a model is loaded once."""
        return {
            stage: spent if stage == LOADING else spent / max(1, self.pictures)
            for stage, spent in self.seconds.items()
        }


def times_of(plan: ComparePlan, events: Iterable[Mapping[str, Any]]) -> dict[str, Times]:
    """The times of every system, by its name.

    A batch's seconds are its pictures' alike. Of a job that was done twice the last counts.
    """
    done: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in events:
        if event.get("kind") == "done":
            done[str(event.get("stage")), str(event.get("job"))] = event
    times = {system.name: Times() for system in plan.systems}
    for job in plan.jobs:
        own = times[job.system]
        for (stage, key), event in ((pair, done[pair]) for pair in _stages(done, job.key)):
            _add(own, stage, event)
            own.pictures += stage == RENDER and key == job.key
        depth = done.get((DEPTH, job.depth or ""))
        if depth is not None:
            _add(own, DEPTH, depth)
    return times


def _stages(
    done: Mapping[tuple[str, str], Mapping[str, Any]], key: str
) -> Iterable[tuple[str, str]]:
    stages = {stage for stage, _ in done if stage != DEPTH}
    return ((stage, key) for stage in sorted(stages) if (stage, key) in done)


def _add(times: Times, stage: str, event: Mapping[str, Any]) -> None:
    share = 1 / max(1, int(event.get("size") or 1))
    for part, seconds in dict(event.get("seconds") or {}).items():
        if stage != RENDER and part == LOADING:
            continue
        name = LOADING if part == LOADING else stage
        times.seconds[name] = times.seconds.get(name, 0.0) + float(seconds) * share
    memory = event.get("memory")
    if stage == RENDER and memory is not None:
        times.memory = max(times.memory or 0, int(memory))
