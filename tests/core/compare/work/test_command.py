"""``threedis compare`` and its stages on the command line."""

from __future__ import annotations

import json

import pytest

from threedis_core.cli.compare.options import parse_shard
from threedis_core.errors import OptionError
from threedis_core.testing import sample_layout

CONFIG = """
layouts: scenes/*.yaml
depth_models: fake-depth
renderers:
  fake: {}
  fake@off: {control: off}
seeds: [0, 1]
"""


@pytest.fixture
def config(threedis) -> str:
    """A config of three layouts and two systems, in the folder of the command line."""
    (threedis.folder / "scenes").mkdir()
    for number in range(3):
        sample_layout(2).save(threedis.folder / "scenes" / f"scene-{number}.yaml")
    (threedis.folder / "compare.yaml").write_text(CONFIG)
    return "compare.yaml"


def test_a_config_alone_does_all_stages_and_goes_on(threedis, config) -> None:
    code, out, err = threedis("compare", config)
    assert (code, err) == (0, "")
    assert "fake@off  6 of 6 pictures" in out
    assert out.splitlines()[-1] == str(threedis.folder / "runs" / "compare" / "report.html")
    assert threedis.notes == ["threedis: depth maps 3 of 3", "threedis: pictures 12 of 12"]
    code, out, _ = threedis("compare", config)
    assert (code, threedis.notes) == (0, [])


def test_a_dry_run_says_what_is_left_and_writes_nothing(threedis, config) -> None:
    code, out, _ = threedis("compare", config, "--dry-run")
    assert code == 0
    lines = " ".join(out.split())
    assert "3 layouts; systems: fake, fake@off" in lines
    assert "depth maps 3, 0 there" in lines
    assert "pictures of fake@off 6, 0 there" in lines
    assert "not known for fake, fake@off" in lines
    assert not (threedis.folder / "runs").exists()
    threedis("compare", "render", config)
    _, out, _ = threedis("compare", config, "--dry-run", "--workers", "2")
    assert "pictures of fake 6, 6 there" in " ".join(out.split())
    assert "disk: about 0 bytes more" in out
    _, out, _ = threedis("compare", config, "--dry-run", "--out", "elsewhere")
    assert "to render" in out, "what was measured before is an estimate for another folder"


def test_the_stages_go_on_from_the_folder_alone(threedis, config) -> None:
    assert threedis("compare", "render", config, "--out", "here")[0] == 0
    assert not (threedis.folder / "here" / "report.html").exists()
    assert threedis("compare", "render", "here")[0] == 0
    assert threedis("compare", "detect", "here")[0] == 0
    assert threedis("compare", "score", "here")[0] == 0
    assert (threedis.folder / "here" / "report.html").exists()
    assert "holds no comparison" in threedis.fails("compare", "score", "scenes")
    assert "--out names the folder" in threedis.fails("compare", "score", "here", "--out", "there")


def test_shards_of_the_command_line_are_counted_from_one(threedis, config) -> None:
    for number in (1, 2):
        assert threedis("compare", "render", config, "--shard", f"{number}/2")[0] == 0
    _, out, _ = threedis("compare", config, "--json")
    assert json.loads(out)["systems"]["fake"] == {"planned": 6, "done": 6, "failed": 0}
    assert parse_shard(None).count == 1
    for wrong in ("0/2", "3/2", "1", "a/b"):
        with pytest.raises(OptionError, match="expected I/N"):
            parse_shard(wrong)


def test_failures_are_told_and_the_exit_code_says_so(threedis, config) -> None:
    (threedis.folder / "scenes" / "scene-1.yaml").write_text("prompt: [half")
    code, out, err = threedis("compare", config)
    assert code == 1
    assert "4 of 6 pictures, 2 failed" in out
    assert "error: 4 jobs failed" in err
    assert "--retry-failed" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("layouts: scenes/*.yaml\n", "name renderers"),
        ("layouts: none/*.yaml\nrenderers: fake\n", "fits no file"),
        ("layouts: lost.yaml\nrenderers: fake\n", "no such file"),
        ("layouts: scenes/*.yaml\nrenderers: fakee\n", "Did you mean 'fake'?"),
        ("layouts: scenes/*.yaml\nrenderers: {fake: {tints: 1}}\n", "Unknown option 'tints'"),
        ("layouts: scenes/*.yaml\nrenderers: fake\nbaseline: other\n", "is not compared"),
        ("layouts: scenes/*.yaml\nrenderers: fake\nprimary: a.b\n", "no metric here tells"),
        ("layouts: scenes/*.yaml\nrenderers: fake\nmetrics: isr\n", "Unknown metric 'isr'"),
        ("layouts: scenes/*.yaml\nrenderers: fake\nwidth: 64\n", "width was given without height"),
        ("layouts: scenes/*.yaml\nrenderers: fake\nseeds: [-1]\n", "seed is -1"),
        ("layouts: {benchmark: nothing}\nrenderers: fake\n", "Unknown benchmark 'nothing'"),
        ("prompt: a scene\ninstances: []\n", "expected the config of a comparison"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line_and_nothing_is_written(
    threedis, config, text, told
) -> None:
    if "depth_models" not in text and "renderers" in text:
        text += "depth_models: fake-depth\n"
    (threedis.folder / config).write_text(text)
    assert told in threedis.fails("compare", config)
    assert not (threedis.folder / "runs").exists()


def test_the_schema_of_a_config_is_printed(threedis) -> None:
    code, out, _ = threedis("compare", "schema")
    assert code == 0
    assert {"layouts", "renderers", "metrics"} <= json.loads(out)["properties"].keys()


MIG = """
a red sphere and a blue cube:
  coco_id: 7
  a red sphere: [[0.1, 0.1, 0.4, 0.5]]
  a blue cube: [[0.5, 0.5, 0.9, 0.9]]
"""
JUDGES = """
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_instance_detectors(register):
        register("fake-detector", "threedis_core.testing.fake_judges:FakeDetector")

    @hookimpl
    def threedis_register_metrics(register):
        register("coco-mig", "threedis_core.metrics.coco_mig:CocoMig")
        register("position", "threedis_core.metrics.position:Position")
"""
ONE_PICTURE = {
    "images": [{"id": 3, "width": 60, "height": 41}],
    "categories": [{"id": 1, "name": "sphere"}],
    "annotations": [{"id": 1, "image_id": 3, "category_id": 1, "bbox": [1, 1, 30, 30]}],
}


@pytest.mark.parametrize(
    ("command", "file", "content", "figure"),
    [
        ("coco-mig", "mig.yaml", MIG, "ISR"),
        ("coco", "instances.json", json.dumps(ONE_PICTURE), "AP"),
    ],
)
def test_a_published_benchmark_is_a_comparison(
    threedis, plugins, command, file, content, figure
) -> None:
    plugins.install("judges", JUDGES)
    (threedis.folder / file).write_text(content)
    code, out, err = threedis(
        *("bench", command, "--annotations", file, "--renderer", "fake", "--hook", "both"),
        *("--depth-model", "fake-depth", "--detector", "fake-detector", "--size", "64"),
    )
    assert (code, err) == (0, "")
    assert "fake@off  1 of 1 pictures" in out
    assert figure in (threedis.folder / f"runs/bench-{command}/table.md").read_text()
