"""Many threads render at once: are the pictures right, and is the rest of the process left alone?

    python benchmarks/stress_threads.py [--threads 8] [--rounds 5] [--model pocket-sd15 ...]

Every picture is first rendered alone, by models of its own. Then, in each round, all threads render
with every model at once: by turns through one engine, which keeps its models, and by plain calls of
``render``, each of which loads its own. Meanwhile another thread makes modules, as a program beside
them would.

It prints one line per round: pictures that differ from those rendered alone, calls that raised, and
modules of the other thread that are not as they should be (on another device, of another number
format, without their initial values). All three should be 0; the exit status says whether they are.
"""

from __future__ import annotations

import argparse
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from rows import print_rows
from torch import nn

from threedis_core import Engine, render
from threedis_core.run.result import Run
from threedis_core.testing import sample_depth, sample_layout

MODELS = ["pocket-sd15", "pocket-sdxl", "pocket-flux"]
HEADER = (
    f"{'round':>5} {'through':<8} {'pictures':>8} {'wrong':>6} {'failures':>8} {'modules':>8} moved"
)
ROW = "{round:5d} {through:<8} {pictures:8d} {wrong:6d} {failures:8d} {modules:8d} {moved:5d}"
LAYOUTS = 4
SIDE = 128


def main() -> None:
    """Parse the command line, stress, print a table or JSON."""
    arguments = parse()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print_rows(noted(stress(arguments), rows), HEADER, ROW, arguments.json)
    if any(row["wrong"] or row["failures"] or row["moved"] for row in rows):
        raise SystemExit(1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def noted(rows: Iterator[dict[str, Any]], into: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, each of them kept in ``into``."""
    for row in rows:
        into.append(row)
        yield row


@dataclass(frozen=True)
class Task:
    """One picture: a model, a seed, and with it the layout."""

    model: str
    seed: int
    steps: int

    def settings(self) -> dict[str, Any]:
        """What ``render`` is told."""
        layout = sample_layout(1 + self.seed % LAYOUTS)
        return {
            "layout": layout,
            "depth": sample_depth(layout, SIDE, SIDE),
            "renderers": {self.model: {"steps": self.steps}},
            "seeds": [self.seed],
        }

    def picture(self, call: Callable[..., Run]) -> str:
        """The checksum of the picture that ``call``, which is like ``render``, makes."""
        (image,) = call(**self.settings()).images
        return hashlib.sha256(image.image.tobytes()).hexdigest()


def stress(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each round."""
    lists = [
        [Task(model, seed, arguments.steps) for model in turned(arguments.model, seed)]
        for seed in range(arguments.threads)
    ]
    expected = {task: task.picture(render) for tasks in lists for task in tasks}
    with Engine() as engine:
        for number in range(1, arguments.rounds + 1):
            through, call = ("engine", engine.render) if number % 2 else ("render", render)
            with host_at_work() as host, ThreadPoolExecutor(arguments.threads) as threads:
                rounds = [threads.submit(work, tasks, call, expected) for tasks in lists]
                found = sum((one.result() for one in rounds), Counter[str]())
            yield {
                "round": number,
                "through": through,
                "pictures": len(expected),
                "wrong": found["wrong"],
                "failures": found["failures"],
                "modules": host.made,
                "moved": len(host.wrong),
            }


def turned(models: list[str], by: int) -> list[str]:
    """The models in another order, so that threads meet at all of them."""
    start = by % len(models)
    return models[start:] + models[:start]


def work(tasks: list[Task], call: Callable[..., Run], expected: dict[Task, str]) -> Counter[str]:
    """Render some pictures; how many are wrong, and how many calls failed."""
    found = Counter[str]()
    for task in tasks:
        try:
            found["wrong"] += task.picture(call) != expected[task]
        except Exception as error:
            print(f"{task}: {type(error).__name__}: {error}", flush=True)
            found["failures"] += 1
    return found


@dataclass
class Host:
    """A program beside the renderers, in a thread of its own: it makes modules."""

    made: int = 0
    wrong: list[str] = field(default_factory=list)

    def make_one(self) -> None:
        """Make a module, and note what is wrong with it."""
        linear, norm = nn.Linear(4, 4), nn.LayerNorm(4)
        weights = [*linear.parameters(), *norm.parameters()]
        self.made += 1
        if any(one.device.type != "cpu" for one in weights):
            self.wrong.append("on another device")
        elif any(one.dtype != torch.float32 for one in weights):
            self.wrong.append("of another number format")
        elif not torch.equal(norm.weight, torch.ones(4)) or linear.weight.abs().max() > 1:
            self.wrong.append("without initial values")


@contextmanager
def host_at_work() -> Iterator[Host]:
    """Have a host make modules all the time while inside."""
    host, stop = Host(), threading.Event()

    def make() -> None:
        while not stop.wait(0.0005):
            host.make_one()

    with ExitStack() as stack:
        thread = threading.Thread(target=make)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        yield host


if __name__ == "__main__":
    main()
