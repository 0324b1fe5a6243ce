"""The benchmarks' commands do what their descriptions say; how fast is not a matter of tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from threedis_core import load_plugins
from threedis_core.run.config import registered_name
from threedis_core.testing import sample_layout
from threedis_pocket import WEIGHTS

Run = Callable[..., Any]


@pytest.fixture
def run(
    benchmark: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a benchmark's ``main`` with arguments and ``--json``; what it printed."""

    def run_main(name: str, *arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", [name, *arguments, "--json"])
        benchmark(name).main()
        return json.loads(capsys.readouterr().out)

    return run_main


def test_a_tiny_gpu_benchmark_takes_every_way_of_a_step_in_every_phase(run: Run) -> None:
    rows = run("bench_gpu", "--tiny", "--instances", "3", "--repeats", "1")
    ways = [(row["family"], row["phase"], row["how"]) for row in rows]
    flux = ("stock", "dense", "segments", "block_mask")
    assert ways == [
        *(("flux", phase, how) for phase in ("i2i", "text") for how in flux),
        *(("sdxl", "regions", how) for how in ("stock", "hook")),
    ]
    assert all(row["instances"] == 3 and row["ms"] > 0 for row in rows)
    assert all(row["ratio"] == 1 for row in rows if row["how"] == "stock")


def test_the_full_size_benchmark_measures_every_model_and_phase(run: Run) -> None:
    rows = run("bench_full_size", "--tiny", "--instances", "2", "--repeats", "1")
    assert [(row["model"], row["phase"]) for row in rows] == [
        ("sd15", "regions"),
        ("sd15-attention", "regions"),
        ("sdxl", "regions"),
        ("flux", "i2i"),
        ("flux", "text"),
    ]
    for row in rows:
        assert row["instances"] == 2
        assert row["ratio"] == pytest.approx(row["hook_s"] / row["stock_s"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_the_gpu_benchmark_says_in_one_line_that_it_needs_a_gpu(run: Run) -> None:
    with pytest.raises(SystemExit, match=r"^torch sees no CUDA GPU, .* --tiny"):
        run("bench_gpu")


@pytest.mark.parametrize(("model", "renderer"), [("pocket-sd15", "sd15"), ("pocket-flux", "flux")])
def test_the_hook_is_measured_against_the_stock_pipeline(
    run: Run, model: str, renderer: str
) -> None:
    folder = str(WEIGHTS / model)
    small = ("--size", "32", "--instances", "0", "2", "--steps", "3", "--repeats", "1")
    rows = run("bench_hook", "--model", folder, "--renderer", renderer, *small)
    assert [(row["model"], row["instances"]) for row in rows] == [(model, 0), (model, 2)]
    for row in rows:
        for part, unit in (("step", "ms"), ("picture", "s")):
            stock, hook = row[f"stock_{part}_{unit}"], row[f"hook_{part}_{unit}"]
            assert row[f"{part}_ratio"] == pytest.approx(hook / stock)
        assert 0 < row["stock_step_ms"] < 1000 * row["stock_picture_s"]


def test_a_model_that_is_not_there_is_told_in_one_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no file 'model_index.json'"):
        run("bench_hook", "--model", str(tmp_path))


def test_the_layout_adapter_is_measured_on_and_off(run: Run) -> None:
    small = ("--size", "32", "--instances", "2", "--steps", "2", "--repeats", "1")
    (row,) = run("bench_adapter", *small)
    assert row["instances"] == 2
    assert row["ratio"] == pytest.approx(row["both_ms"] / row["off_ms"])


def test_a_return_is_a_step_to_a_file_that_was_left_before(
    benchmark: Callable[[str], ModuleType],
) -> None:
    trace = benchmark("trace_render")
    assert trace.returns(["a", "b", "c"]) == 0
    assert trace.returns(["a", "b", "a", "c", "b"]) == 2


def test_the_first_calls_of_our_functions_are_traced_in_order(
    benchmark: Callable[[str], ModuleType],
) -> None:
    trace = benchmark("trace_render")
    layout = sample_layout(1)
    seen = trace.first_calls(lambda: [layout.to_dict(), layout.to_dict(), len("not ours")])
    assert [code.co_name for code in seen][:2] == ["to_dict", "_to_list"]
    assert trace.file_of(seen[0]) == "threedis_core/values/layout.py"


def test_the_renderers_whose_pictures_are_compared_exist(
    benchmark: Callable[[str], ModuleType],
) -> None:
    registry = load_plugins()
    compared = benchmark("picture_checksums").RENDERERS
    presets = {preset.name for preset in registry.presets()}
    assert {registered_name(name) for name in compared} <= presets
    for name, options in compared.items():
        registry.renderer(registered_name(name), options).check()


def test_a_killed_render_goes_on_and_loses_nothing() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "kill_and_resume.py"
    command = [sys.executable, str(script), "--kills", "1", "--steps", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)  # it forks: no threads here
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["lost"], row["made_twice"], row["torn"], row["as_unbroken"]) == (0, 0, 0, True)


def test_a_killed_comparison_goes_on_and_loses_nothing() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "kill_compare.py"
    command = [sys.executable, str(script), "--kills", "2", "--layouts", "3", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)  # it forks: no threads here
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert (row["kills"], row["survived"], row["lost"], row["rendered_twice"]) == (2, 2, 0, 0)


def test_a_comparison_is_measured_against_calling_the_renderer(run: Run) -> None:
    (row,) = run("bench_compare", "--layouts", "1", "--steps", "1", "--repeats", "1")
    assert row["pictures"] == 2
    assert row["processor_ratio"] > 0


def test_a_kept_model_is_measured_against_a_bare_call_and_a_cancel_in_steps(run: Run) -> None:
    (row,) = run(
        *("bench_engine", "--model", "pocket-sd15", "--instances", "0"),
        *("--steps", "8", "--repeats", "1", "--cancels", "1"),
    )
    assert (row["model"], row["instances"]) == ("pocket-sd15", 0)
    assert row["ratio"] == row["render_s"] / row["bare_s"]
    assert row["cancel_steps"] > 0
    assert row["previews_ratio"] > 0


def test_the_report_of_a_comparison_is_opened_in_a_real_browser(
    run: Run, benchmark: Callable[[str], ModuleType]
) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed")
    if not Path(benchmark("bench_report").CHROMIUM).exists():
        pytest.skip("no browser: apt-get install chromium")
    small = ("--systems", "2", "--side", "32", "--opens", "1")
    (row,) = run("bench_report", "--layouts", "40", *small)
    failed = 40 * 2 - (row["thumbnails"] - 40)
    assert failed == 2  # as report_samples has it: they have no picture
    assert min(row["paint_s"], row["load_s"], row["picture_s"], row["work_s"]) > 0
    assert 0.01 < row["size_mb"] < 2


def test_the_scoring_benchmark_scores_and_makes_all_tables(run: Run, tmp_path: Path) -> None:
    told = run("bench_scoring", "--layouts", "5", "--seeds", "1", "--folder", str(tmp_path / "c"))
    assert [row["part"] for row in told["rows"]] == [
        "score coco-mig",
        "score position",
        "statistics and tables",
    ]
    assert told["pictures"] == 4 * 5
    assert told["figures"] > 100
    summary = json.loads((tmp_path / "c" / "summary.json").read_bytes())
    isr = [one for one in summary["figures"] if one["figure"] == "isr" and one["complete"]]
    assert any(one["difference"] and one["difference"]["p"] is not None for one in isr)
    assert all(row["wall_s"] > 0 for row in told["rows"])


def test_four_pictures_take_hardly_more_memory_to_decode_than_one(run: Run) -> None:
    document = run("memory_of_decoding", "--count", "--side", "256")
    ratios = {(row["pictures"], row["how"]): row["ratio"] for row in document["rows"]}
    assert ratios[4, "frugal"] <= 1.1
    assert ratios[4, "stock"] > 3
