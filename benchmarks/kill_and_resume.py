"""Kill a render at random moments with kill -9, give the same command again, and compare.

python benchmarks/kill_and_resume.py --kills 20

Each turn begins a run of eight pictures anew, kills it at a random moment between the first step of
the renderer and the end, and lets the same command go on. Lost is a picture that was there when the
run was killed and is not there, or is another one, in the end; made twice is one that was written
again; torn is a file under a picture's name that is no whole picture. The end must be that of an
unbroken run: every file byte by byte, and run.json but for its times. Each command has a process of
its own, forked from one that has imported the libraries and loaded no model, so that the time goes
into rendering.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import redirect_stdout
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import IO, Any

from PIL import Image

from threedis_core import DepthModel, RenderBackend
from threedis_core.cli import main as main_command
from threedis_core.plugin.discovery import load_plugins
from threedis_core.run.config import DEFAULT_DEPTH_MODEL

FORK = multiprocessing.get_context("fork")
RENDERER = "pocket-sd15"
LAYOUT = """
prompt: a red sphere, a blue cube and a yellow cone
instances:
  - {prompt: a red sphere, box: [0.08, 0.45, 0.40, 0.78]}
  - {prompt: a blue cube, box: [0.58, 0.52, 0.92, 0.86]}
  - {prompt: a yellow cone, box: [0.36, 0.28, 0.60, 0.64]}
"""
RENDERING = ": render ...\n"
TIMES = ("created", "seconds")
Identity = tuple[int, int, bytes]


def command(out: Path, layout: Path, steps: int) -> list[str]:
    """The arguments of the render that is killed and given again."""
    seeds = ["--seed", "0", "--seed", "1", "--seed", "2", "--seed", "3"]
    how = ["--batch-size", "2", "--hook", "both", "--steps", str(steps), "--renderer", RENDERER]
    return ["render", str(layout), *seeds, *how, "--out", str(out)]


def carry_out(arguments: list[str], stderr: int) -> None:
    """What a process does: the command, with its words into a pipe."""
    sys.stderr = os.fdopen(stderr, "w", buffering=1)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        main_command(arguments)


def started(arguments: list[str]) -> tuple[Process, IO[str]]:
    """Begin a command in a process of its own, which has the libraries already."""
    read, write = os.pipe()
    process = FORK.Process(target=carry_out, args=(arguments, write))
    process.start()
    os.close(write)
    return process, os.fdopen(read, buffering=1)


def rendering(arguments: list[str]) -> tuple[Process, IO[str]]:
    """Begin a command, and return when its renderer begins to render."""
    process, said = started(arguments)
    lines: list[str] = []
    for line in said:
        lines.append(line)
        if line.endswith(RENDERING):
            return process, said
    raise SystemExit(f"it ended before it began to render: {''.join(lines)}")


def ended(process: Process, said: IO[str]) -> int:
    """Wait for the end of a process; its exit code."""
    said.read()
    process.join()
    said.close()
    return process.exitcode or 0


def torn(content: bytes) -> bool:
    """Whether the content of a file is no whole picture."""
    try:
        Image.open(io.BytesIO(content)).load()
    except (OSError, SyntaxError):
        return True
    return False


def pictures(folder: Path) -> dict[str, Identity]:
    """The pictures in a run's folder: which file it is, when it was written, what is in it."""
    found: dict[str, Identity] = {}
    for file in folder.glob("*-seed*.png"):
        stat = file.stat()
        found[file.name] = (stat.st_ino, stat.st_mtime_ns, file.read_bytes())
    return found


def content(folder: Path) -> dict[str, Any]:
    """Every file of a run, run.json without its times."""
    files: dict[str, Any] = {file.name: file.read_bytes() for file in folder.iterdir()}
    record = json.loads(files["run.json"])
    files["run.json"] = {name: fact for name, fact in record.items() if name not in TIMES}
    return files


def main() -> None:
    """Kill, go on, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    rows: list[dict[str, Any]] = []
    registry = load_plugins()  # imports what every process needs
    registry.choose(RenderBackend, RENDERER, {})
    registry.choose(DepthModel, DEFAULT_DEPTH_MODEL, {})
    with tempfile.TemporaryDirectory() as place:
        folder, layout = Path(place), Path(place) / "layout.yaml"
        layout.write_text(LAYOUT)
        os.environ["THREEDIS_CACHE"] = str(folder / "cache")
        ended(*started(command(folder / "warm", layout, 1)))  # the depth map is cached from now on
        asked = command(folder / "whole", layout, chosen.steps)
        process, said = rendering(asked)
        begun = time.perf_counter()
        ended(process, said)
        length = time.perf_counter() - begun
        whole = content(folder / "whole")
        for number in itertools.count():
            if len(rows) == chosen.kills:
                break
            out = folder / f"run{number}"
            asked = command(out, layout, chosen.steps)
            process, said = rendering(asked)
            moment = rng.uniform(0, length)
            time.sleep(moment)
            process.kill()
            if ended(process, said) != -signal.SIGKILL:
                continue  # it was done before: another moment
            before = pictures(out)
            code = ended(*started(asked))
            after = pictures(out)
            lost = [name for name, one in before.items() if after.get(name, one)[2] != one[2]]
            lost += sorted(before.keys() - after.keys())
            again = [name for name, one in before.items() if after.get(name, one)[:2] != one[:2]]
            same = code == 0 and content(out) == whole
            rows.append(
                {
                    "moment": round(moment / length, 3),
                    "there": len(before),
                    "lost": len(lost),
                    "made_twice": len(again),
                    "torn": sum(torn(one[2]) for one in before.values()),
                    "as_unbroken": same,
                }
            )
            if not chosen.json:
                print(rows[-1], flush=True)
    if chosen.json:
        print(json.dumps(rows))
        return
    print(
        f"{len(rows)} kills: {sum(row['lost'] for row in rows)} pictures lost, "
        f"{sum(row['made_twice'] for row in rows)} made twice, "
        f"{sum(row['torn'] for row in rows)} torn, "
        f"{sum(row['as_unbroken'] for row in rows)} runs as unbroken ones"
    )


if __name__ == "__main__":
    main()
