"""What lies in a comparison's folder arrives on its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threedis_core.compare.report import write_report
from threedis_core.compare.report.answer import answer
from threedis_core.compare.report.reading import read_report
from threedis_core.errors import OptionError

Make = Callable[..., Any]


def test_every_picture_has_its_verdicts_and_its_score(comparison: Make) -> None:
    made = comparison()
    report = read_report(made.folder.path)
    first = report.rows[0].lines[0].pictures[0]
    assert [verdict.state for verdict in first.verdicts] == ["missing", "wrong"]
    assert first.score == 0.0
    assert first.verdicts[1].values["iou"] == 0.6
    assert first.verdicts[1].found == (0.45, 0.1, 0.8, 0.7)
    assert [system.done for system in report.systems] == [3, 3]


def test_a_job_without_a_picture_is_failed_only_if_that_is_known(comparison: Make) -> None:
    made = comparison()
    made.fail("render", "job0-0-0", "out of memory")
    made.folder.picture("job1-1-0").unlink()
    report = read_report(made.folder.path)
    by_key = {p.key: p for row in report.rows for line in row.lines for p in line.pictures}
    assert (by_key["job0-0-0"].state, by_key["job0-0-0"].note) == ("failed", "out of memory")
    assert by_key["job1-1-0"].state == "not done"
    assert [(s.planned, s.done, s.failed) for s in report.systems] == [(3, 2, 1), (3, 2, 0)]
    (failure,) = report.failures
    assert (failure.reason, failure.stage, failure.count) == ("out of memory", "render", 1)


def test_a_picture_that_is_there_is_done_whatever_an_old_failure_says(comparison: Make) -> None:
    made = comparison()
    picture = made.folder.picture("job0-0-0").read_bytes()
    made.fail("render", "job0-0-0", "out of memory")
    made.folder.picture("job0-0-0").write_bytes(picture)
    report = read_report(made.folder.path)
    assert report.systems[0].failed == 0
    assert report.failures == []


def test_a_depth_map_that_failed_fails_all_its_pictures(comparison: Make) -> None:
    made = comparison()
    for key in ("job0-2-0", "job1-2-0"):
        made.folder.picture(key).unlink()
    made.fail("depth", "depth2", "the noun is not known")
    (failure,) = read_report(made.folder.path).failures
    assert (failure.count, failure.stage) == (2, "depth")
    assert list(failure.systems) == ["sd15", "flux"]


def test_a_failed_detection_is_told_until_there_is_one(comparison: Make) -> None:
    made = comparison()
    made.folder.detection("eye", "job0-0-0").unlink()
    picture = made.folder.picture("job0-0-0").read_bytes()
    made.fail("detect-eye", "job0-0-0", "the judge is blind")
    made.folder.picture("job0-0-0").write_bytes(picture)
    (failure,) = read_report(made.folder.path).failures
    assert (failure.stage, failure.reason) == ("detect-eye", "the judge is blind")


def test_several_seeds_share_a_depth_map_and_show_it_once(comparison: Make) -> None:
    report = read_report(comparison(seeds=(0, 7)).folder.path)
    lines = report.rows[0].lines
    assert [line.seed for line in lines] == ["seed 0", "seed 7"]
    assert [len(line.depths) for line in lines] == [1, 0]


def test_without_a_summary_the_page_says_what_to_run(comparison: Make) -> None:
    made = comparison()
    made.folder.summary.unlink()
    report = read_report(made.folder.path)
    assert any("threedis compare score" in sentence for sentence in report.missing)
    assert write_report(made.folder.path).is_file()


def test_the_answer_says_not_distinguished_and_from_where_it_would(comparison: Make) -> None:
    sentences = answer(read_report(comparison(systems=("sd15", "flux", "sd15@50")).folder.path))
    assert sentences == [
        "sd15@50 has the highest ISR, 70.0 % (95 % interval 40.0 to 80.0), over 3 layouts.",
        "Against the baseline sd15: sd15@50 is better; flux is not distinguished.",
        "Not distinguished does not mean equal: with so many layouts a difference of less than "
        "about 15.0 points would not be seen.",
        "3 layouts cannot show any difference: at 5 % it takes at least 6, and more for several "
        "systems.",
    ]


def test_a_variant_is_shown_beside_its_own_renderer_only_where_they_were_compared(
    comparison: Make,
) -> None:
    made = comparison(systems=("sd15", "flux", "flux@50"))
    before = write_report(made.folder.path).read_text("utf-8")
    assert "from flux, exploratory" not in before
    summary = json.loads(made.folder.summary.read_text("utf-8"))
    for one in summary["figures"]:
        if one["system"] == "flux@50":
            one["from_base"] = {**one["difference"], "base": "flux", "value": 0.123, "p": None}
    made.summarise(figures=summary["figures"])
    shown = write_report(made.folder.path).read_text("utf-8")
    assert "from flux, exploratory" in shown
    assert shown.count("<b>+12.3</b>") == 1


def test_loading_is_told_apart_from_the_seconds_of_a_picture(comparison: Make) -> None:
    first, second = read_report(comparison().folder.path).systems
    assert (first.seconds, first.loading) == ({"render": 1.25, "detect eye": 0.5}, 7.0)
    assert list(first.seconds) == ["render", "detect eye"]
    assert first.memory == 3_200_000_000
    assert (second.seconds, second.loading, second.memory) == ({}, None, None)


def test_the_facts_name_the_plan_the_sources_and_the_seeds(comparison: Make) -> None:
    facts = dict(read_report(comparison().folder.path).facts)
    assert facts["Plan"].startswith("SHA-256 ")
    assert facts["Layouts"] == f"3 of many.yaml, SHA-256 {'ab' * 32}"
    assert facts["Seeds"] == "0"
    assert "torch 2.13.0" in facts["Versions"]


def test_a_folder_without_a_plan_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="holds no comparison"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
