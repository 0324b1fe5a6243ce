"""The report of examples that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from threedis_core.errors import DataError
from threedis_core.values.layout import Layout
from threedis_ldm3d.training.bad_data import BadDataReport
from threedis_ldm3d.training.example import BadExample, Example, FoundExamples


def report(good: int, missing: int, broken: int = 0) -> BadDataReport:
    """``broken`` of the good ones turn out bad when they are opened."""
    examples = [Example(f"good {i}", None, None, Layout(prompt="x")) for i in range(good)]
    bad = [
        BadExample(f"lost {i}", "missing image", f"{i}.png: no such file") for i in range(missing)
    ]
    spoilt = [BadExample(f"good {i}", "broken image", "damaged") for i in range(broken)]
    return BadDataReport(FoundExamples(tuple(examples), tuple(bad)), spoilt)


def test_the_table_counts_kinds_and_names_some() -> None:
    assert report(90, 10, 2).table().splitlines() == [
        "12 of 100 examples cannot be used",
        "  missing image      10  lost 0, lost 1, lost 2, lost 3, lost 4, ...",
        "  broken image        2  good 0, good 1",
    ]
    assert report(90, 0).table() == "0 of 90 examples cannot be used"


def test_the_file_lists_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bad-data.json"
    report(90, 10, 2).write(path)
    document = json.loads(path.read_text())
    assert (document["examples"], document["bad"]) == (100, 12)
    assert document["kinds"] == {"missing image": 10, "broken image": 2}
    assert len(document["list"]) == 12
    assert document["list"][-1] == {
        "name": "good 1",
        "kind": "broken image",
        "detail": "damaged",
    }


def test_bad_data_is_fatal_only_above_the_limit() -> None:
    found = report(90, 10, 2)
    found.check(0.12, "bad-data.json")
    with pytest.raises(DataError) as caught:
        found.check(0.11, "out/bad-data.json")
    assert str(caught.value) == (
        "12 of 100 examples (12.0%) cannot be used, most often for 'missing image'; expected at "
        "most 11.0%. out/bad-data.json lists them: mend or remove them, or raise the limit"
    )


def test_no_limit_makes_nothing_out_of_nothing() -> None:
    with pytest.raises(DataError, match="no examples"):
        report(0, 0).check(1.0, "bad-data.json")
    with pytest.raises(DataError, match="2 of 2 examples"):
        report(1, 1, 1).check(1.0, "bad-data.json")


def test_a_report_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"bad-data\.json: cannot be written"):
        report(1, 1).write(tmp_path / "file" / "bad-data.json")
