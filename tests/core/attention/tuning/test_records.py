"""Measurements are kept for their device and version, and found again for what is alike."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from threedis_core.attention.tuning import Race, Records, Setting

HERE = Setting("a GPU", "2.13.0", "bfloat16", 128, "i2t+t2i+t2t", 4096, 1000, 4)
TIMES = {"dense": 3.0, "segments": 1.0, "block_mask": 2.0}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / "not there yet" / "lowerings.json")


def test_what_is_kept_is_found_again_and_replaced_by_what_is_measured_later(
    records: Records,
) -> None:
    assert records.nearest(HERE) is None
    records.keep([Race(HERE, TIMES)])
    found = records.nearest(HERE)
    assert found == Race(HERE, TIMES)
    assert (found.fastest, found.lead) == ("segments", 2.0)
    records.keep([Race(HERE, {"dense": 0.5})])
    assert [one.seconds for one in records.all()] == [{"dense": 0.5}]
    assert records.all()[0].lead == 1


def test_the_most_alike_measurement_speaks(records: Records) -> None:
    few, many = (replace(HERE, instances=n, text_tokens=200 * (n + 1)) for n in (4, 8))
    records.keep([Race(few, {"dense": 1.0}), Race(many, {"segments": 1.0})])
    for instances, name in ((3, "dense"), (4, "dense"), (8, "segments"), (15, "segments")):
        wanted = replace(HERE, instances=instances, text_tokens=200 * (instances + 1))
        found = records.nearest(wanted)
        assert found is not None
        assert found.fastest == name


@pytest.mark.parametrize(
    "change",
    [
        {"device": "another GPU"},
        {"torch": "2.14.0"},
        {"dtype": "float16"},
        {"head": 64},
        {"phase": "i2i"},
        {"image_tokens": 1024},
        {"instances": 20},
        {"text_tokens": 80},
    ],
)
def test_a_measurement_says_nothing_of_what_is_not_alike(
    change: dict[str, object], records: Records
) -> None:
    records.keep([Race(HERE, TIMES)])
    assert records.nearest(replace(HERE, **change)) is None


@pytest.mark.parametrize("damage", ["", "{", "[1]", '[["a", {}]]', "\x00"])
def test_a_damaged_file_is_told_and_not_used_and_can_be_written_anew(
    damage: str, records: Records, caplog: pytest.LogCaptureFixture
) -> None:
    assert records.file is not None
    records.file.parent.mkdir()
    records.file.write_text(damage)
    with caplog.at_level(logging.WARNING):
        assert records.all() == []
    assert "run threedis tune again" in caplog.text
    records.keep([Race(HERE, TIMES)])
    assert records.nearest(HERE) is not None


def test_clearing_forgets_everything(records: Records) -> None:
    records.keep([Race(HERE, TIMES), Race(replace(HERE, head=64), TIMES)])
    assert records.clear() == 2
    assert records.all() == []
    assert records.clear() == 0


def test_without_a_home_nothing_is_kept() -> None:
    nowhere = Records(None)
    assert nowhere.nearest(HERE) is None
    assert nowhere.clear() == 0
    with pytest.raises(OSError, match="set THREEDIS_CACHE"):
        nowhere.keep([Race(HERE, TIMES)])
