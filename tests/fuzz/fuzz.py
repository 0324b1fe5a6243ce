"""Run thousands of odd inputs through the real command line, and say which did not end cleanly.

python tests/fuzz/fuzz.py --cases 5000
python tests/fuzz/fuzz.py --family masks --case 123
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from math import ceil
from pathlib import Path

from cases import Case
from families import FAMILIES
from judge import KINDS, Fault, judge, tree_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from runner import Place, run_case

SHARED = (
    "numpy",
    "PIL.PngImagePlugin",
    "threedis_core.cli.app",
    "threedis_core.formats.layout_files",
    "threedis_core.run.loop",
    "threedis_core.testing.fakes",
)
"""Modules that every case would import."""


@dataclass(frozen=True)
class Job:
    """A case to run: the one of this number, in this folder; ``light``: unless it is heavy."""

    family: str
    number: int
    seed: int
    folder: str
    light: bool = False


@dataclass(frozen=True)
class Report:
    """How a case ended."""

    family: str
    number: int
    name: str
    seconds: float
    code: int
    said: str
    faults: tuple[Fault, ...]


def run_job(job: Job) -> Report | None:
    """Prepare, run and judge one case; None if it is too heavy."""
    try:
        case = FAMILIES[job.family].case(job.seed, job.number)
        return None if job.light and case.heavy else _judged(job, case)
    except Exception:  # a fault of the recipe, which must not end the other cases
        fault = Fault("harness", traceback.format_exc().strip())
        return Report(job.family, job.number, "no case", 0, 0, "", (fault,))


def _judged(job: Job, case: Case) -> Report:
    place = Place(Path(job.folder) / f"{job.family}-{job.number}")
    place.make()
    case.prepare(place.work)
    before = tree_of(place)
    finished = run_case(case, place)
    faults = judge(case, place, finished, before)
    _remove(place.root)
    slowest = max(finished, key=lambda one: one.seconds)
    said = slowest.err[-400:].decode(errors="backslashreplace")
    facts = (case.name, slowest.seconds, slowest.code, said, faults)
    return Report(job.family, job.number, *facts)


def show_job(job: Job) -> None:
    """Run one case and print all there is to see of it; its files stay."""
    case = FAMILIES[job.family].case(job.seed, job.number)
    place = Place(Path(job.folder) / f"{job.family}-{job.number}")
    place.make()
    case.prepare(place.work)
    before = tree_of(place)
    print(f"{case.name}\nin {place.work}\nthreedis", *map(repr, case.arguments))
    print(f"may exit {sorted(case.codes)}; {case.surroundings}")
    finished = run_case(case, place)
    for one in finished:
        print(f"exit {one.code}, {one.seconds:.2f} s, {one.memory:.0f} MiB more memory")
        print(f"stdout: {one.out[:2000]!r}")
        print("stderr:", one.err.decode(errors="backslashreplace")[-6000:])
    for fault in judge(case, place, finished, before):
        print(f"{fault.kind}: {fault.detail}")


def _remove(root: Path) -> None:
    for folder, folders, _ in os.walk(root):
        for name in folders:  # a case may have taken its own rights away
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(root)


def jobs_of(names: Sequence[str], cases: int | None, seed: int, folder: str) -> list[Job]:
    """``cases`` jobs, by the shares of the families; None: those of the test suite."""
    shares = sum(FAMILIES[name].share for name in names)
    counts = {name: FAMILIES[name].in_tests for name in names}
    if cases is not None:
        counts = {name: ceil(cases * FAMILIES[name].share / shares) for name in names}
    light = cases is None
    return [Job(name, n, seed, folder, light) for name in names for n in range(counts[name])]


def reports_of(jobs: Sequence[Job], processes: int) -> Iterator[Report | None]:
    """Run jobs on some processes, which share what is imported here.

    Families that need no model library come first: a fork of a small process is quicker.
    """
    for libraries in sorted({FAMILIES[job.family].libraries for job in jobs}):
        for module in (*SHARED, *libraries):
            import_module(module)
        gc.freeze()
        some = [job for job in jobs if FAMILIES[job.family].libraries == libraries]
        if processes == 1:
            yield from map(run_job, some)
            continue
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            yield from pool.map(run_job, some, chunksize=4)


def table_of(reports: Iterable[Report]) -> Table:
    """How many cases of each family ended how."""
    cases: Counter[str] = Counter()
    clean: Counter[str] = Counter()
    kinds: Counter[tuple[str, str]] = Counter()
    for report in reports:
        cases[report.family] += 1
        clean[report.family] += not report.faults
        kinds.update({(report.family, fault.kind) for fault in report.faults})
    table = Table("family", "cases", "clean", *KINDS)
    for family in cases:
        row = (cases[family], clean[family], *(kinds[family, kind] for kind in KINDS))
        table.add_row(family, *map(str, row))
    totals = (sum(kinds[family, kind] for family in cases) for kind in KINDS)
    table.add_row("all", str(cases.total()), str(clean.total()), *map(str, totals))
    return table


def command() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, help="how many; else those of the test suite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", action="append", choices=FAMILIES, help="repeat for several")
    parser.add_argument("--case", type=int, help="run only this one, and show all of it")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run cases")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per case")
    return parser


def main() -> int:
    """Run the command; 1 if any case did not end cleanly."""
    sys.dont_write_bytecode = True  # a case must not find what another one has compiled
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is imported
    asked = command().parse_args()
    names = asked.family or list(FAMILIES)
    if asked.case is not None:
        if len(names) != 1:
            raise SystemExit("error: --case needs one --family")
        show_job(Job(names[0], asked.case, asked.seed, tempfile.mkdtemp(prefix="threedis-fuzz-")))
        return 0
    with tempfile.TemporaryDirectory(prefix="threedis-fuzz-") as folder:
        os.chmod(folder, 0o755)
        jobs = jobs_of(names, asked.cases, asked.seed, folder)
        running = reports_of(jobs, asked.jobs)
        if asked.json:
            return _print_lines(running)
        console = Console(stderr=True)
        shown = track(running, "fuzzing", total=len(jobs), console=console)
        return _print_table(list(filter(None, shown)), asked.seed)


def _print_lines(reports: Iterable[Report | None]) -> int:
    failed = 0
    for report in filter(None, reports):
        print(json.dumps(asdict(report)), flush=True)
        failed |= bool(report.faults)
    return failed


def _print_table(reports: Sequence[Report], seed: int) -> int:
    Console(width=120).print(table_of(reports))
    alike: dict[str, list[tuple[Report, Fault]]] = defaultdict(list)
    for report in reports:
        for sort, fault in {fault.sort: fault for fault in report.faults}.items():
            alike[sort].append((report, fault))
    for sort, found in sorted(alike.items(), key=lambda item: -len(item[1])):
        print(f"\n{len(found)} x {sort}")
        detail = found[0][1].detail.replace("\n", "\n    ")
        print(f"    {detail}".encode(errors="backslashreplace").decode())
        for report, _ in found:
            repeat = f"--seed {seed} --family {report.family} --case {report.number}"
            print(f"  {sys.argv[0]} {repeat}  # {report.name}")
    return int(bool(alike))


if __name__ == "__main__":
    sys.exit(main())
