from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from threedis_core.compare.folder import detect_stage
from threedis_core.compare.statistics.intervals import wilson_interval
from threedis_core.compare.tables.markup import latex, markdown
from threedis_core.compare.tables.writing import write_tables

INSTANCES = 2 * (2 + 3 + 4)  # of six layouts


def written(comparison, **changes: Any) -> dict[str, Any]:
    plan = comparison.plan.model_copy(update=changes)
    write_tables(comparison.folder, plan, registry=comparison.judges)
    return json.loads(comparison.folder.summary.read_bytes())


def entry(
    summary, system: str, figure="there", stratum=None, complete=True, metric="fake-metric"
) -> dict[str, Any]:
    part = None if stratum is None else {"name": stratum[0], "value": stratum[1]}
    wanted = (metric, figure, system, part, complete)
    keys = ("metric", "figure", "system", "stratum", "complete")
    found = [one for one in summary["figures"] if tuple(one[key] for key in keys) == wanted]
    assert len(found) == 1, wanted
    return found[0]


def test_figures_are_sums_over_layouts_and_seeds(comparison) -> None:
    summary = written(comparison)
    base, other, third = (entry(summary, name) for name in ("base", "other", "third"))
    assert (base["value"], other["value"], third["value"]) == (1, round(6 / INSTANCES, 6), 0.5)
    assert (base["layouts"], base["pictures"], base["instances"]) == (6, 12, 2 * INSTANCES)
    assert (base["planned"], base["done"], base["failed"]) == (12, 12, 0)
    assert base["interval"] == "wilson"
    assert base["low"] == pytest.approx(wilson_interval(6, 6).low, abs=1e-6)
    assert other["interval"] == "bca"
    assert other["low"] < other["value"] < other["high"]
    assert entry(summary, "other", "full")["value"] == 0
    assert entry(summary, "third", "full")["value"] == 0.5


def test_the_primary_figure_is_tested_and_no_other(comparison) -> None:
    summary = written(comparison)
    assert entry(summary, "base")["difference"] is None
    other = entry(summary, "other")["difference"]
    # All 2**6 sign flips: the observed one and its mirror are the most extreme.
    assert other["p"] == 2 / 64
    assert other["p_adjusted"] == 2 * other["p"]
    assert other["verdict"] == "not distinguished"
    assert other["value"] == pytest.approx(6 / INSTANCES - 1, abs=1e-6)
    assert other["high"] < 0
    assert other["smallest_detectable"] > 0
    full = entry(summary, "other", "full")
    assert (full["exploratory"], full["difference"]["p"]) == (True, None)
    assert full["difference"]["verdict"] in ("not distinguished", "interval below 0")
    again = written(comparison, primary="fake-metric.full")
    assert entry(again, "other", "full")["difference"]["p"] == 2 / 64
    assert entry(again, "other")["exploratory"]


def renamed(comparison, names: dict[str, str], **changes: Any) -> dict[str, Any]:
    """What is written where systems have other names; those before a label are renderers."""
    systems = tuple(
        one.model_copy(update={"name": names[one.name], "renderer": names[one.name].split("@")[0]})
        for one in comparison.plan.systems
    )
    jobs = tuple(
        one.model_copy(update={"system": names[one.system]}) for one in comparison.plan.jobs
    )
    return written(comparison, systems=systems, jobs=jobs, **changes)


def test_a_variant_is_held_against_its_own_renderer_from_the_same_draws(comparison) -> None:
    names = {"base": "base", "other": "other", "third": "other@soft"}
    plain = written(comparison, baseline="other")
    summary = renamed(comparison, names)
    for figure, metric in (("there", "fake-metric"), ("ap", "position")):
        found = entry(summary, "other@soft", figure, metric=metric)["from_base"]
        expected = entry(plain, "third", figure, metric=metric)["difference"]
        assert found["base"] == "other"
        assert {key: found[key] for key in ("value", "low", "high", "interval")} == {
            key: expected[key] for key in ("value", "low", "high", "interval")
        }
        assert (found["p"], found["p_adjusted"]) == (None, None)
        assert found["verdict"] not in ("better", "worse")
    assert entry(summary, "other")["from_base"] is None
    text = comparison.folder.table_md.read_text()
    assert "fake-metric: variants, difference from their own renderer (exploratory)" in text
    assert "| other@soft | other | " in text


@pytest.mark.parametrize(
    "names",
    [
        {"base": "base", "other": "other", "third": "base@soft"},  # of the baseline
        {"base": "base", "other": "other", "third": "gone@soft"},  # of what is not compared
        {"base": "base", "other": "other@a", "third": "other@b"},
    ],
)
def test_a_variant_of_the_baseline_or_of_nothing_that_is_compared_is_held_against_that_alone(
    names: dict[str, str], comparison
) -> None:
    summary = renamed(comparison, names)
    assert {one["from_base"] for one in summary["figures"]} == {None}
    assert entry(summary, names["third"])["difference"]["p"] is not None
    assert "their own renderer" not in comparison.folder.table_md.read_text()


def test_more_layouts_make_the_verdict(tmp_path, judges, make_comparison) -> None:
    many = make_comparison(tmp_path / "many", judges, layouts=12, seeds=(0,))
    for job in many.plan.jobs:
        count = len(many.plan.layouts_by_id[job.layout].layout.instances)
        many.picture(job, [job.system == "base" or place == 0 for place in range(count)])
    many.judge()
    other = entry(written(many), "other")["difference"]
    assert (other["verdict"], other["p"]) == ("worse", 2 / 2**12)


def test_cells_that_one_system_lacks_are_left_out_for_all_and_count_as_zero_beside(
    comparison,
) -> None:
    lost = comparison.job("other", 1)
    comparison.folder.picture(lost.key).unlink()
    for name in comparison.plan.metrics:
        comparison.folder.score(name, lost.key).unlink()
    pending = written(comparison)
    assert entry(pending, "base")["pictures"] == 11
    assert entry(pending, "base", complete=False)["pictures"] == 11  # nobody knows yet
    assert (entry(pending, "other")["done"], entry(pending, "other")["failed"]) == (11, 0)
    comparison.fail(lost)
    failed = written(comparison)
    assert entry(failed, "base")["pictures"] == 11
    assert (entry(failed, "other")["planned"], entry(failed, "other")["failed"]) == (12, 1)
    assert entry(failed, "other", complete=False)["pictures"] == 12
    zero = entry(failed, "other", complete=False)["value"]
    assert zero == pytest.approx((12 - 1) / (2 * INSTANCES), abs=1e-6)
    assert entry(failed, "base", complete=False)["value"] == 1
    ap = [entry(failed, "other", "ap", metric="position", complete=c) for c in (True, False)]
    assert ap[0]["value"] > ap[1]["value"]
    systems = {one["name"]: one for one in failed["systems"]}
    assert (systems["other"]["done"], systems["other"]["failed"]) == (11, 1)
    assert "failures count as 0" in comparison.folder.table_md.read_text()


def test_a_failed_detection_or_depth_map_is_a_failure_too(comparison) -> None:
    job = comparison.job("third", 0)
    comparison.folder.score("fake-metric", job.key).unlink()
    comparison.fail(job, detect_stage("fake-detector"))
    summary = written(comparison)
    assert (entry(summary, "third")["done"], entry(summary, "third")["failed"]) == (11, 1)
    assert entry(summary, "third", "ap", metric="position")["failed"] == 0


def test_strata_split_instances_and_layouts(comparison) -> None:
    summary = written(comparison)
    names = {one["stratum"]["name"] for one in summary["figures"] if one["stratum"]}
    assert names == {"level", "size", "same noun", "in depth map"}
    for level, instances in (("L2", 8), ("L3", 12), ("L4", 16)):
        other = entry(summary, "other", stratum=("level", level))
        assert other["instances"] == instances
        assert other["value"] == pytest.approx(4 / instances, abs=1e-6)
        assert other["exploratory"]
        assert other["difference"]["p"] is None
    # Of cube, cone, cube, sphere the first cube is shared where there are three instances.
    shared = entry(summary, "other", stratum=("same noun", "shared"))
    assert shared["instances"] == 4 * 2 * 2
    assert shared["value"] == 0.5
    assert entry(summary, "base", stratum=("in depth map", "not shown"))["instances"] == 4
    full = {
        one["stratum"]["name"]
        for one in summary["figures"]
        if one["stratum"] and one["figure"] == "full"
    }
    assert full == {"level"}


def test_results_have_a_line_for_each_instance_and_each_picture(comparison) -> None:
    comparison.plan.layouts[0].layout.instances[0].__dict__["prompt"] = '=HYPERLINK("x"), "quoted"'
    written(comparison)
    rows = list(csv.DictReader(io.StringIO(comparison.folder.results_csv.read_text())))
    assert len(rows) == 3 * (2 * INSTANCES + 12)
    pictures = [row for row in rows if row["instance"] == ""]
    assert len(pictures) == 36
    assert {row["fake-metric.full"] for row in pictures} == {"true", "false"}
    of_base = [row for row in rows if row["system"] == "base" and row["instance"]]
    assert {row["fake-metric.there"] for row in of_base} == {"true"}
    assert {row["level"] for row in rows} == {"2", "3", "4"}
    assert all(0 <= float(row["presence"]) <= 1 for row in of_base if row["presence"])
    odd = next(row for row in rows if "HYPERLINK" in row["prompt"])
    assert odd["prompt"] == '\'=HYPERLINK("x"), "quoted"'


def test_parquet_has_the_same_table(comparison) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    written(comparison)
    table = parquet.read_table(comparison.folder.results_parquet)
    lines = comparison.folder.results_csv.read_text().splitlines()
    assert (table.num_rows, table.column_names) == (len(lines) - 1, lines[0].split(","))


def test_the_same_scores_make_the_same_bytes(comparison) -> None:
    folder = comparison.folder
    files = (folder.results_csv, folder.summary, folder.table_md, folder.table_tex)
    written(comparison)
    first = [file.read_bytes() for file in files]
    written(comparison)
    assert [file.read_bytes() for file in files] == first


def test_a_torn_score_is_pending(comparison) -> None:
    file = comparison.folder.score("fake-metric", comparison.job("base", 0).key)
    file.write_bytes(file.read_bytes()[:50])
    assert entry(written(comparison), "base")["done"] == 11


def test_times_and_memory_come_from_events(comparison) -> None:
    events = []
    for number, job in enumerate(comparison.plan.jobs):
        event = {"kind": "done", "stage": "render", "job": job.key, "batch": 0, "size": 4}
        seconds = {"loading": 8.0, "rendering": 6.0, "encoding": 2.0}
        events.append({**event, "seconds": seconds, "memory": 1000 + number})
        events.append({**event, "stage": "detect-fake-detector", "seconds": {"detecting": 4.0}})
    events.append({"kind": "done", "stage": "depth", "job": "d000", "seconds": {"depth": 3.0}})
    text = "\n".join(map(json.dumps, events)) + '\n{"kind": "do'
    comparison.write(comparison.folder.path / "events" / "one.jsonl", text.encode())
    base = written(comparison)["systems"][0]
    assert base["seconds_per_picture"] == 2.0
    assert base["stage_seconds"]["render"] == 2.0
    assert base["stage_seconds"]["detect-fake-detector"] == 1.0
    assert base["stage_seconds"]["loading"] == 24.0
    assert base["stage_seconds"]["depth"] == pytest.approx(2 * 3.0 / 12)
    assert base["peak_memory"] == 1000 + 11


def test_options_are_told_as_the_pictures_were_made(comparison) -> None:
    system = comparison.plan.systems[0].model_copy(update={"renderer": "sd15"})
    own = {**system.options, "steps": 20, "guidance": 3.0}
    system = system.model_copy(update={"options": own})
    plan = comparison.plan.model_copy(update={"config": {"steps": 4, "guidance": None}})
    assert plan.options_of(system) == {**own, "steps": 4}
    assert plan.options_of(system.model_copy(update={"renderer": None})) == own


def test_the_tables_of_a_paper_name_what_they_are_of(comparison) -> None:
    written(comparison)
    text = comparison.folder.table_md.read_text()
    assert "| **100.0 [61.0, 100.0]†** |" in text
    assert "| other |" in text
    assert "ab" * 32 in text
    assert "not distinguished" in text.lower()
    assert "not comparable" in text  # the note of position
    assert " equal" not in text.replace("does not mean equal", "")
    tex = comparison.folder.table_tex.read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") >= 3
    for table in re.findall(r"\\toprule\n(.*?)\\bottomrule", tex, re.DOTALL):
        lines = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len(lines) == (1 + 2 if "verdict" in lines[0] else 1 + 3)
        assert len({line.count(" & ") for line in lines}) == 1


def test_names_that_mean_something_to_latex_or_markdown_are_escaped(comparison) -> None:
    summary = written(comparison)
    summary["systems"][1]["name"] = "a|b_50%&{x}\\~^"
    for one in summary["figures"]:
        if one["system"] == "other":
            one["system"] = "a|b_50%&{x}\\~^"
    assert "| a\\|b_50%&{x}\\~^ |" in markdown(summary)
    name = r"a|b\_50\%\&\{x\}\textbackslash{}\textasciitilde{}\textasciicircum{}"
    assert f"\n{name} & " in latex(summary)


def test_a_comparison_without_metrics_or_pictures_has_tables_too(
    tmp_path, judges, make_comparison
) -> None:
    empty = make_comparison(tmp_path / "empty", judges, layouts=2)
    summary = written(empty)
    assert summary["figures"] == []
    summary = written(empty, metrics={}, primary=None)
    assert (summary["metrics"], summary["systems"][0]["planned"]) == ([], 4)
    assert "planned" not in empty.folder.table_tex.read_text()
