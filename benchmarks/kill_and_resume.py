"""Kill a render at random moments with kill -9, give the same command again, and compare.

python benchmarks/kill_and_resume.py --kills 20

Each turn begins a run anew, kills it once, and lets the same command go on. Lost is a picture that
was there when the run was killed and is not there, or is another one, in the end; made twice is one
that was written again. The end must be that of an unbroken run: every file byte by byte, and
run.json but for its times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LAYOUT = """
prompt: a red sphere, a blue cube and a yellow cone
instances:
  - {prompt: a red sphere, box: [0.08, 0.45, 0.40, 0.78]}
  - {prompt: a blue cube, box: [0.58, 0.52, 0.92, 0.86]}
  - {prompt: a yellow cone, box: [0.36, 0.28, 0.60, 0.64]}
"""
TIMES = ("created", "seconds")
Identity = tuple[int, int, bytes]


def command(out: Path, layout: Path, flags: list[str]) -> list[str]:
    """The render that is killed and given again."""
    start = [sys.executable, "-m", "threedis_core.cli", "render", str(layout)]
    seeds = ["--seed", "0", "--seed", "1", "--seed", "2", "--seed", "3"]
    return [*start, *seeds, "--batch-size", "2", "--hook", "both", *flags, "--out", str(out)]


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
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.parse_args()
    rng, flags = random.Random(chosen.seed), ["--steps", str(chosen.steps)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder, layout = Path(place), Path(place) / "layout.yaml"
        layout.write_text(LAYOUT)
        os.environ["THREEDIS_CACHE"] = str(folder / "cache")
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        asked = command(folder / "warm", layout, flags)
        subprocess.run(asked, check=True, **quiet)  # the depth map is in the cache from now on
        begun = time.perf_counter()
        subprocess.run(command(folder / "whole", layout, flags), check=True, **quiet)
        length = time.perf_counter() - begun
        whole = content(folder / "whole")
        for number in range(chosen.kills):
            out = folder / f"run{number}"
            asked = command(out, layout, flags)
            process = subprocess.Popen(asked, **quiet)
            moment = rng.uniform(0, length)
            time.sleep(moment)
            process.kill()
            process.wait()
            before = pictures(out)
            done = subprocess.run(asked, check=False, **quiet)
            after = pictures(out)
            lost = [name for name, one in before.items() if after.get(name, one)[2] != one[2]]
            lost += sorted(before.keys() - after.keys())
            again = [name for name, one in before.items() if after.get(name, one)[:2] != one[:2]]
            same = done.returncode == 0 and content(out) == whole
            rows.append(
                {
                    "moment": round(moment / length, 3),
                    "there": len(before),
                    "lost": len(lost),
                    "made_twice": len(again),
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
        f"{sum(row['as_unbroken'] for row in rows)} runs as unbroken ones"
    )


if __name__ == "__main__":
    main()
