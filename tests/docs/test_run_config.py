from __future__ import annotations

import re
from pathlib import Path

from threedis_core import RunConfig

PAGE = Path(__file__).parents[2] / "docs" / "run-config.md"


def test_the_table_of_fields_names_every_field_of_a_run() -> None:
    table = PAGE.read_text("utf-8").partition("## All fields")[2]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    assert named == set(RunConfig.model_fields)
