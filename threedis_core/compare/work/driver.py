"""The one loop of every engine: give tasks to workers, keep what they make, and settle failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from threedis_core.compare.work.ledger import Ledger
from threedis_core.compare.work.tasks import Failure, Outcome, Task
from threedis_core.compare.work.units import Unit

DEATHS = 2
"""How many workers may die of one unit before it is halved."""
MEMORY, ERROR, DEATH = "out of memory", "an error", "a dead worker"
DIED = Failure("the worker that rendered it died, every time it was tried", "worker-died")


class Crew(Protocol):
    """Some workers, each with one task at a time."""

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Let an idle worker, 0 to ``size`` - 1, do a task."""
        ...

    def next(self) -> tuple[int, Outcome | None]:
        """Wait for a worker's end of its task; None: it died, and another one has its place."""
        ...

    def close(self) -> None:
        """Let all workers go."""
        ...


@dataclass
class Tally:
    """How far a stage is: keys done and failed by now, of how many."""

    total: int
    done: int = 0
    failed: int = 0


class Driver:
    """Does units with a crew; it alone writes.

    Args:
        crew: The workers.
        ledger: Where everything is written.
        tell: Told after every unit: the stage and how far it is.
        warn: Told what is worth knowing, in one line.
    """

    def __init__(
        self,
        crew: Crew,
        ledger: Ledger,
        tell: Callable[[str, Tally], None],
        warn: Callable[[str], None],
    ) -> None:
        self._crew, self._ledger = crew, ledger
        self._tell, self._warn = tell, warn

    def run(self, stage: str, units: Sequence[Unit]) -> Tally:
        """Do all units of a stage; the first ones first.

        Raises:
            RenderError: A file cannot be written.
        """
        tally = Tally(sum(len(unit.wanted) for unit in units))
        waiting, idle = deque(units), set(range(self._crew.size if units else 0))
        at_work: dict[int, Unit] = {}
        while waiting or at_work:
            while waiting and idle:
                worker, unit = min(idle), waiting.popleft()
                idle.remove(worker)
                at_work[worker] = unit
                self._event("started", unit, worker=worker)
                self._crew.give(worker, unit.task())
            worker, outcome = self._crew.next()
            again = self._settled(at_work.pop(worker), outcome, worker, tally)
            waiting.extendleft(reversed(again))
            idle.add(worker)
            self._tell(stage, tally)
        return tally

    def _settled(
        self, unit: Unit, outcome: Outcome | None, worker: int, tally: Tally
    ) -> list[Unit]:
        """Note what became of a unit; what of it is to be done again."""
        if outcome is None:
            return self._after_death(replace(unit, deaths=unit.deaths + 1), worker, tally)
        for warning in outcome.warnings:
            self._warn(warning)
        if outcome.failure is not None:
            return self._after_failure(unit, outcome.failure, tally)
        kept = {key: outcome.made[key] for key in unit.keys if key in unit.wanted}
        self._ledger.keep(unit.stage, unit.batch, kept)
        for key in kept:
            self._ledger.tell(
                "done",
                stage=unit.stage,
                job=key,
                seconds=dict(outcome.seconds),
                memory=outcome.memory,
                batch=unit.batch,
                size=len(unit.keys),
                halved=unit.halved,
                worker=worker,
            )
        tally.done += len(kept)
        return []

    def _after_death(self, unit: Unit, worker: int, tally: Tally) -> list[Unit]:
        self._event("died", unit, worker=worker)
        if unit.deaths < DEATHS:
            return [unit]
        if len(unit.keys) > 1:
            # Each half has seen deaths already: of one more it is halved again.
            return self._halved(replace(unit, deaths=DEATHS - 1), DEATH)
        return self._failed(unit, DIED, tally)

    def _after_failure(self, unit: Unit, failure: Failure, tally: Tally) -> list[Unit]:
        alone = len(unit.keys) == 1 or failure.for_all
        if alone or (failure.out_of_memory and unit.halved == MEMORY):
            return self._failed(unit, failure, tally)
        return self._halved(unit, MEMORY if failure.out_of_memory else ERROR)

    def _halved(self, unit: Unit, why: str) -> list[Unit]:
        self._event("halved", unit, why=why)
        return unit.halves(why)

    def _failed(self, unit: Unit, failure: Failure, tally: Tally) -> list[Unit]:
        self._ledger.fail(unit.stage, [key for key in unit.keys if key in unit.wanted], failure)
        tally.failed += len(unit.wanted)
        return []

    def _event(self, kind: str, unit: Unit, **facts: object) -> None:
        jobs = [key for key in unit.keys if key in unit.wanted]
        self._ledger.tell(kind, stage=unit.stage, jobs=jobs, batch=unit.batch, **facts)
