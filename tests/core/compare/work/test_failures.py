"""What fails is recorded, and the others go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap

import pytest
from PIL import Image

from threedis_core.compare import Means
from threedis_core.errors import InputError, OptionError, WeightsError
from threedis_core.run.folder import read_provenance
from threedis_core.testing import sample_layout


def failed(made) -> dict[str, str]:
    """The errors of the failed jobs, by the place of each."""
    places = {job.key: f"{job.system} {job.layout} {job.seed}" for job in made.plan.jobs}
    return {places[one.job]: one.error for one in made.failed if one.job in places}


def test_a_renderer_that_fails_on_one_layout_costs_its_pictures_alone(comparing) -> None:
    prompts = ["scene-0", "bad", "scene-2"]
    made = comparing(prompts, renderers={"failing": {"fault": "bad"}, "counting": {}})
    assert set(failed(made)) == {"failing layout-1 0", "failing layout-1 1"}
    assert "ZeroDivisionError: inside the model" in failed(made)["failing layout-1 0"]
    assert (made.systems["failing"].done, made.systems["counting"].done) == (4, 6)
    assert not made.complete


def test_what_failed_is_tried_again_when_that_is_asked(comparing) -> None:
    settings = {"renderers": {"failing": {"fault": "bad"}}}
    first = comparing(["bad"], **settings)
    assert len(first.failed) == 2
    before = comparing.rendered
    assert len(comparing(["bad"], **settings).failed) == 2
    assert comparing.rendered == before, "without being asked nothing is tried again"
    assert len(comparing(["bad"], **settings, means=Means(retry_failed=True)).failed) == 2
    assert comparing.rendered["bad 0"] > before["bad 0"]


def test_out_of_memory_is_tried_once_at_half_the_batch_and_marked(comparing) -> None:
    prompts = ["scene-0", "scene-1"]
    made = comparing(prompts, renderers="hungry")
    assert made.complete
    sizes = [
        line.split(" ")[3] for line in comparing.log.read_text().splitlines() if "render" in line
    ]
    assert sizes == ["4"] * 4 + ["2"] * 4
    assert {
        event["halved"] for event in comparing.events("done") if event["stage"] == "render"
    } == {"out of memory"}
    told = read_provenance(comparing.out / "pictures" / f"{made.plan.jobs[0].key}.png")
    assert (told["comparison"]["pictures"], told["comparison"]["planned"]) == (2, 4)


def test_out_of_memory_at_half_the_batch_has_failed(comparing) -> None:
    made = comparing(["scene-0", "bad"], renderers={"hungry": {"fault": "bad"}})
    assert set(failed(made)) == {"hungry layout-1 0", "hungry layout-1 1"}
    counts = comparing.rendered
    assert (counts["bad 0"], counts["scene-0 0"]) == (2, 2)


def test_missing_weights_cost_their_own_system(comparing) -> None:
    told: list[str] = []
    made = comparing(2, renderers=["missing", "counting"], warn=told.append)
    assert (made.systems["missing"].failed, made.systems["counting"].done) == (4, 4)
    assert "no weights in 'nowhere'" in failed(made)["missing layout-0 0"]
    assert any("no weights" in line for line in told)


def test_if_no_renderer_can_work_nothing_is_recorded(comparing) -> None:
    with pytest.raises(WeightsError, match="no weights in 'nowhere'"):
        comparing(2, renderers="missing")
    assert not (comparing.out / "failures").exists()


def test_a_broken_layout_fails_and_the_others_go_on(comparing) -> None:
    files = comparing.layouts("scene-0", "scene-1", "scene-2")
    (comparing.folder / "layout-1.yaml").write_text("prompt: [half")
    made = comparing(layouts=files)
    assert set(failed(made)) == {"counting layout-1 0", "counting layout-1 1"}
    assert "layout-1.yaml" in failed(made)["counting layout-1 0"]
    assert made.systems["counting"].done == 4
    assert comparing(layouts=files).plan == made.plan


def test_layouts_that_are_all_broken_are_refused(comparing) -> None:
    files = comparing.layouts("scene-0")
    (comparing.folder / "layout-0.yaml").write_text("prompt: [half")
    with pytest.raises(InputError, match=r"layout-0\.yaml"):
        comparing(layouts=files)
    assert not comparing.out.exists()


def test_a_layout_that_a_renderer_cannot_serve_fails_before_any_work(comparing) -> None:
    files = comparing.layouts("scene-0")
    sample_layout(5).save(comparing.folder / "many.yaml")
    made = comparing(
        layouts=[*files, str(comparing.folder / "many.yaml")],
        renderers={"counting": {"max_instances": 3}, "counting@wide": {}},
    )
    assert set(failed(made)) == {"counting many 0", "counting many 1"}
    assert "takes at most 3" in failed(made)["counting many 0"]
    assert made.systems["counting@wide"].done == 4


def test_a_failing_depth_map_fails_its_pictures(comparing) -> None:
    made = comparing(["scene-0", "deep"])
    assert set(failed(made)) == {"counting layout-1 0", "counting layout-1 1"}
    assert {one.stage for one in made.failed} == {"depth", "render"}
    assert comparing.rendered["depth deep 0"] == 1


def test_pictures_of_another_tool_get_a_row(comparing) -> None:
    Image.new("RGB", (64, 64), "red").save(comparing.folder / "a.png")
    Image.new("RGB", (32, 32), "blue").save(comparing.folder / "b.jpg")
    manifest = comparing.folder / "others.csv"
    rows = ["layout,seed,system,file", "layout-0,0,mine,a.png", "layout-1,0,mine,b.jpg"]
    manifest.write_text("\n".join(rows))
    made = comparing(2, pictures=manifest)
    assert made.systems["mine"].done == 2
    job = next(job for job in made.plan.jobs if job.system == "mine")
    assert (comparing.out / "pictures" / f"{job.key}.png").read_bytes() == (
        comparing.folder / "a.png"
    ).read_bytes()
    Image.new("RGB", (64, 64), "green").save(comparing.folder / "a.png")
    with pytest.raises(OptionError, match="the jobs are others"):
        comparing(2, pictures=manifest)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("layout-9,0,mine,a.png", "layout 'layout-9' is not compared"),
        ("layout-0,x,mine,a.png", "seed 'x': expected a whole number"),
        ("layout-0,0,counting,a.png", "is a renderer's name already"),
        ("layout-0,0,mine,lost.png", "lost.png: no such file"),
    ],
)
def test_a_wrong_row_of_another_tool_is_named(comparing, row, told) -> None:
    Image.new("RGB", (64, 64)).save(comparing.folder / "a.png")
    manifest = comparing.folder / "others.csv"
    manifest.write_text(f"layout,seed,system,file\n{row}\n")
    with pytest.raises(OptionError, match=told):
        comparing(1, pictures=manifest)


FULL = """
    import resource, signal, sys
    from threedis_core.compare import compare
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    try:
        compare(layouts=sys.argv[3:], renderers="counting", depth_models="counted-depth",
                seeds=[0, 1], width=256, height=256, out=sys.argv[2], stages=("render",))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_disk_that_takes_no_more_is_told_and_the_comparison_goes_on(comparing) -> None:
    files = comparing.layouts("scene-0", "scene-1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def told(most: int) -> str:
        command = [sys.executable, "-c", textwrap.dedent(FULL), str(most), str(comparing.out)]
        done = subprocess.run(
            [*command, *files], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert re.match(
        r"RenderError .*\.png cannot be written: File too large; make room", told(40_000)
    )
    assert not list(comparing.out.rglob("*.part"))
    assert told(10_000_000) == ""
    assert len(list((comparing.out / "pictures").glob("*.png"))) == 4
    assert max(comparing.rendered.values()) <= 2


def test_a_folder_that_cannot_be_written_is_told(comparing) -> None:
    (comparing.folder / "file").touch()
    with pytest.raises(OptionError, match="cannot be written"):
        comparing(1, out=comparing.folder / "file" / "out")
