"""A few hundred of the fuzzing cases, always the same ones; ``make fuzz`` runs thousands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAMILIES = sorted(
    file.stem
    for file in (HERE / "families").glob("*.py")
    if file.stem not in ("__init__", "materials")
)


@pytest.mark.parametrize("family", FAMILIES)
def test_odd_input_ends_in_a_result_or_in_one_clear_line(family: str) -> None:
    finished = subprocess.run(
        [sys.executable, HERE / "fuzz.py", "--family", family, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    reports = [json.loads(line) for line in finished.stdout.splitlines()]
    assert reports, finished.stderr
    unclean = [
        f"fuzz.py --family {family} --case {report['number']}  # {report['name']}: {fault}"
        for report in reports
        for fault in report["faults"]
    ]
    assert not unclean, "\n".join(unclean)
    assert finished.returncode == 0, finished.stderr
