"""Kill a comparison at random moments with kill -9, go on with the same call, and compare.

python benchmarks/kill_compare.py --kills 50

A comparison of two systems on ten layouts with two seeds, a detector and a metric, all of them
fakes that take their time, runs in a process of its own, with one or two workers. It is killed at a
random moment of a stage drawn at random, its workers left to notice it themselves, and the same
call goes on, a few times until it has come to an end; then the next one begins anew.

Lost is a picture, a finding or a score that was there at a kill and is not there, or is another
one, in the end. Rendered twice is a picture that was there at a kill and was rendered again after
it, or was rendered more often than the batches that ran at the kills explain. Survived is a kill
after which nothing was lost or rendered twice, and whose comparison ended as an unbroken one does:
every file byte by byte but for the times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any

from threedis_core.compare import Means, compare
from threedis_core.testing import sample_layout

FORK = multiprocessing.get_context("fork")
LOG, PAUSE = "KILL_COMPARE_LOG", "KILL_COMPARE_PAUSE"
TOLD_TIMES = ("events/", ".locks/", "summary.json", "report.html", "table.")
"""What tells times, and so is never the same."""
PLUGIN = """
    import os
    import time

    from threedis_core import hookimpl
    from threedis_core.testing import FakeDetector, FakeMetric, FakeRenderer


    def pause():
        time.sleep(float(os.environ["KILL_COMPARE_PAUSE"]))


    class Slow(FakeRenderer):
        def render(self, requests, progress=lambda *_: None):
            with open(os.environ["KILL_COMPARE_LOG"], "a") as file:
                names = [f"{self.options.tint}:{one.layout.prompt}:{one.seed}" for one in requests]
                file.write(" ".join(names) + "\\n")
            pause()
            return super().render(requests, progress)


    class SlowDetector(FakeDetector):
        def detect(self, requests, progress=lambda *_: None):
            pause()
            return super().detect(requests, progress)


    class SlowMetric(FakeMetric):
        def score(self, requests, progress=lambda *_: None):
            pause()
            return super().score(requests, progress)


    @hookimpl
    def threedis_register_renderers(register):
        register("slow", f"{__name__}:Slow")


    @hookimpl
    def threedis_register_depth_models(register):
        register("slow-depth", "threedis_core.testing.fakes:FakeDepthModel")


    @hookimpl
    def threedis_register_instance_detectors(register):
        register("slow-detector", f"{__name__}:SlowDetector")


    @hookimpl
    def threedis_register_metrics(register):
        register("slow-metric", f"{__name__}:SlowMetric")
"""
STAGES = ("planning", "depth", "render", "detect", "score")
KILLS_OF_ONE = 4
TINTS = {"slow": 0.5, "slow@pale": 0.1}


@dataclass
class Tally:
    """What was counted over all kills."""

    kills: int = 0
    survived: int = 0
    lost: int = 0
    rendered_twice: int = 0
    stages: Counter[str] = field(default_factory=Counter[str])


def install_plugin(folder: Path) -> None:
    """Install the slow fakes where this process and its workers find them."""
    (folder / "kill_compare_plugin.py").write_text(textwrap.dedent(PLUGIN))
    info = folder / "kill_compare_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kill-compare\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[threedis]\nkill = kill_compare_plugin\n")
    sys.path.insert(0, str(folder))


def write_layouts(folder: Path, count: int) -> list[str]:
    """Write layouts; their files."""
    files: list[str] = []
    for number in range(count):
        layout = sample_layout(2 + number % 3).model_copy(update={"prompt": f"scene-{number}"})
        layout.save(folder / f"layout-{number}.yaml")
        files.append(str(folder / f"layout-{number}.yaml"))
    return files


def carry_out(out: Path, layouts: list[str], workers: int) -> None:
    """What a process does: the comparison, from where it is."""
    compare(
        layouts=layouts,
        renderers={name: {"tint": tint} for name, tint in TINTS.items()},
        depth_models="slow-depth",
        seeds=[0, 1],
        metrics={"slow-metric": {"detector": "slow-detector"}},
        out=out,
        means=Means(workers=workers, wait=True),
    )


def begun(out: Path, layouts: list[str], workers: int) -> Process:
    """Begin the comparison in a process of its own, or let it go on."""
    process = FORK.Process(target=carry_out, args=(out, layouts, workers))
    process.start()
    return process


def ended(process: Process) -> None:
    """Wait for the end of a comparison that nobody kills."""
    process.join()
    if process.exitcode:
        raise SystemExit(f"the comparison failed with exit code {process.exitcode}")


def killed_in(stage: str, process: Process, out: Path, longest: float) -> bool:
    """Kill a comparison at a random moment of a stage; False if it ended before."""
    while process.is_alive() and STAGES.index(stage) > STAGES.index(stage_of(out)):
        time.sleep(0.005)
    process.join(random.uniform(0, longest))
    if not process.is_alive() or process.pid is None:
        ended(process)
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return True


def files_in(out: Path) -> dict[str, bytes]:
    """All that a comparison has made so far; what is half done has another name."""
    found = {str(one.relative_to(out)): one for one in out.rglob("*") if one.is_file()}
    return {
        name: one.read_bytes()
        for name, one in found.items()
        if not name.startswith(TOLD_TIMES) and "/." not in name
    }


def events_of(out: Path) -> list[dict[str, Any]]:
    """What the comparison has told so far."""
    lines = [
        line
        for file in sorted((out / "events").glob("*.jsonl"))
        for line in file.read_bytes().splitlines()
        if line.endswith(b"}")
    ]
    return [json.loads(line) for line in lines]


def stage_of(out: Path) -> str:
    """In which stage the last event was."""
    told = events_of(out)
    return told[-1]["stage"].partition("-")[0] if told else STAGES[0]


def lengths(out: Path) -> dict[str, float]:
    """How many seconds each stage of an unbroken comparison took."""
    times: dict[str, list[float]] = {STAGES[0]: [0.0, 0.2]}
    for event in events_of(out):
        at = datetime.fromisoformat(event["time"]).timestamp()
        times.setdefault(event["stage"].partition("-")[0], []).append(at)
    return {stage: max(each) - min(each) for stage, each in times.items()}


def rendered(log: Path) -> Counter[str]:
    """How often each picture was rendered by now."""
    return Counter(log.read_text().split()) if log.exists() else Counter()


def pictures_there(out: Path, names: dict[str, str]) -> set[str]:
    """The pictures that are there, by the names that the log has for them."""
    folder = out / "pictures"
    complete = [*folder.glob("*.png"), *folder.glob(".batch-*[0-9]/*.png")]
    return {names[one.stem] for one in complete if one.stem in names}


def log_names(out: Path) -> dict[str, str]:
    """The names that the log has for pictures, by their keys."""
    plan = json.loads((out / "plan.json").read_text())
    prompts = {one["id"]: one["layout"]["prompt"] for one in plan["layouts"]}
    return {
        job["key"]: f"{TINTS[job['system']]}:{prompts[job['layout']]}:{job['seed']}"
        for job in plan["jobs"]
    }


def one_comparison(
    out: Path, layouts: list[str], whole: dict[str, bytes], took: dict[str, float], most: int
) -> Tally:
    """Kill one comparison some times, ``most`` at most, and let it come to an end."""
    log, tally, names = out.parent / f"{out.name}.log", Tally(), log_names(out.parent / "whole")
    os.environ[LOG] = str(log)
    workers = random.choice((1, 1, 2))
    kept: dict[str, bytes] = {}
    before, there = Counter[str](), set[str]()
    targets = sorted(random.choices(STAGES, k=min(KILLS_OF_ONE, most)), key=STAGES.index)
    for target in [*targets, None]:
        process = begun(out, layouts, workers)
        killed = target is not None and killed_in(target, process, out, took[target])
        ended(process) if target is None else time.sleep(0.1)  # orphans notice it and end
        now = rendered(log)
        tally.rendered_twice += sum(now[one] > before[one] for one in there)
        if killed:
            tally.kills += 1
            tally.stages[stage_of(out)] += 1
            kept |= files_in(out) if out.exists() else {}
            before, there = now, pictures_there(out, names)
    end = files_in(out)
    tally.lost = sum(end.get(name) != data for name, data in kept.items())
    # Of each kill the batches that were running, four pictures a worker, may be rendered again.
    again = sum(rendered(log).values()) - len(names)
    tally.rendered_twice += max(0, again - 4 * workers * tally.kills)
    if end == whole and not tally.lost and not tally.rendered_twice:
        tally.survived = tally.kills
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--layouts", type=int, default=10)
    parser.add_argument("--pause", type=float, default=0.05, help="Seconds that each batch takes.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    os.environ[PAUSE] = str(arguments.pause)
    total = Tally()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["THREEDIS_CACHE"] = str(place / "cache")
        (place / "site").mkdir()
        install_plugin(place / "site")
        layouts = write_layouts(place, arguments.layouts)
        os.environ[LOG] = str(place / "whole.log")
        ended(begun(place / "whole", layouts, 1))
        took, whole = lengths(place / "whole"), files_in(place / "whole")
        turn = 0
        while total.kills < arguments.kills:
            turn += 1
            left = arguments.kills - total.kills
            one = one_comparison(place / f"turn-{turn}", layouts, whole, took, left)
            total.kills += one.kills
            total.survived += one.survived
            total.lost += one.lost
            total.rendered_twice += one.rendered_twice
            total.stages += one.stages
            if not arguments.json:
                print(f"{total.survived} of {total.kills} kills survived", file=sys.stderr)
    if arguments.json:
        row = {"kills": total.kills, "survived": total.survived, "lost": total.lost}
        row |= {"rendered_twice": total.rendered_twice, "stages": dict(total.stages)}
        print(json.dumps(row))
        return
    print(f"{total.survived} of {total.kills} kills survived, {total.lost} files lost, ", end="")
    print(f"{total.rendered_twice} pictures rendered twice beyond the running batch")
    print("killed in: " + ", ".join(f"{name} {count}" for name, count in total.stages.items()))


if __name__ == "__main__":
    main()
