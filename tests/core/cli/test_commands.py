from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from threedis_core import DepthMap, Layout, __version__
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
COMMANDS = """
    from typing import Annotated
    import typer
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_commands(app, bench):
        @app.command()
        def hello(context: typer.Context, name: str = "you") -> None:
            from threedis_core.cli import state_of
            names = state_of(context).registry.names("renderer")
            typer.echo(f"hello {name}, {names[0]}")

        @bench.command("speed")
        def speed() -> None:
            typer.echo("fast")
"""


def test_render_writes_a_run_and_prints_its_pictures(threedis) -> None:
    code, out, err = threedis(
        *("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake"),
        *("--renderer", "pale", "--seed", "1", "--seed", "2", "--out", "run"),
    )
    assert (code, err) == (0, "")
    names = ["fake-seed1.png", "fake-seed2.png", "pale-seed1.png", "pale-seed2.png"]
    assert out.split() == [f"run/{name}" for name in [*names, "sheet.png"]]
    assert all((threedis.folder / "run" / name).is_file() for name in names)


def test_render_makes_a_folder_named_by_time_and_prompt(threedis) -> None:
    _, out, _ = threedis("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake")
    assert re.fullmatch(r"runs/\d{8}-\d{6}-solids-on-a-floor/fake-seed0\.png\n.*sheet\.png\n", out)


def test_render_prints_exactly_one_json_document(threedis) -> None:
    code, out, _ = threedis(
        *("render", "scene.yaml", "--depth-model", "fake-depth", "--renderer", "fake"),
        *("--set", "steps=5", "--set", "fake-depth.noise=0", "--out", "run", "--json"),
    )
    document = json.loads(out)
    assert code == 0
    assert document["folder"] == "run"
    assert document["renderers"]["fake"]["options"]["steps"] == 5
    assert document["depth"]["options"] == {"noise": 0}
    stored = json.loads((threedis.folder / "run" / "run.json").read_text())
    assert {**stored, "folder": "run"} == document


def test_what_every_renderer_knows_has_flags_of_its_own(threedis) -> None:
    first = ("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake", "--json")
    flags = ("--steps", "4", "--negative", "fog", "--size", "72x64", "--hook", "both")
    code, out, _ = threedis(*first, *flags, "--out", "run")
    document = json.loads(out)
    assert code == 0
    assert document["config"]["control"] == "both"
    assert [image["size"] for image in document["images"]] == [[72, 64]] * 2
    assert Layout.load("run/layout.json").negative_prompt == "fog"
    _, out, _ = threedis(*first, "--size", "72", "--hook", "off")
    assert json.loads(out)["images"][0]["file"] == "fake-seed0-off.png"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--size", "big"), "--size big: expected width x height in pixels, such as 768x512"),
        (("--size", "64x"), "--size 64x: expected"),
        (("--size", "64", "--width", "64"), "were both given; give --size alone"),
        (("--guidance", "2"), "renderer 'fake' has no guidance scale"),
        (("--steps", "2", "--set", "steps=3"), "steps is 2 for every renderer, and 3 among"),
        (("--depth-seed", "0"), "--depth-seed is for a depth model, but a depth map is given"),
        (("--depth-tries", "2"), "--depth-tries is for a depth model, but a depth map is given"),
        (("--out", ""), "out is '': expected the name of a folder"),
        (("--config", "scene.yaml"), "scene.yaml is a layout; expected run settings"),
    ],
)
def test_flags_that_say_nothing_or_two_things_are_refused(threedis, flags, message) -> None:
    line = threedis.fails(
        "render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake", *flags
    )
    assert message in line


def test_render_repeats_an_earlier_run(threedis) -> None:
    first = ("render", "scene.yaml", "--depth-model", "fake-depth", "--renderer", "fake")
    threedis(*first, "--set", "tint=0.8", "--seed", "3", "--out", "one")
    code, _, err = threedis("render", "--config", "one/run.json", "--out", "two")
    assert (code, err) == (0, "")
    for name in ("fake-seed3.png", "depth.png", "layout.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_a_run_is_repeated_with_another_depth_map_of_the_same_model(threedis) -> None:
    first = ("render", "scene.yaml", "--depth-model", "fake-depth", "--renderer", "fake", "--json")
    how = ("--set", "fake-depth.noise=0.4", "--depth-tries", "2")
    threedis(*first, *how, "--out", "one")
    asked = ("render", "--config", "one/run.json", "--json")
    told = {}
    for name, flags in (
        ("other", ("--depth-seed", "5")),
        ("same", ("--depth-seed", "0")),
        ("more", ("--depth-tries", "3")),
    ):
        _, out, _ = threedis(*asked, *flags, "--out", name)
        told[name] = json.loads(out)["depth"]
    assert (told["other"]["tries"][0]["seed"], len(told["other"]["tries"])) == (5, 2)
    assert told["other"]["options"]["noise"] == 0.4
    assert len(told["more"]["tries"]) == 3
    depth = Path("one/depth.png").read_bytes()
    assert Path("same/depth.png").read_bytes() == depth != Path("other/depth.png").read_bytes()
    threedis("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake", "--out", "given")
    line = threedis.fails("render", "--config", "given/run.json", "--depth-seed", "5")
    assert "given in the config: name a --depth-model to make a new one" in line


def test_a_run_goes_on_by_its_own_run_json_too(threedis) -> None:
    first = ("render", "scene.yaml", "--depth-model", "fake-depth", "--renderer", "fake")
    threedis(*first, "--seed", "0", "--seed", "1", "--out", "one")
    Path("one/fake-seed1.png").unlink()
    record = json.loads(Path("one/run.json").read_text())
    code, _, _ = threedis("render", "--config", "one/run.json", "--out", "one")
    assert code == 0
    assert "threedis: 1 of 2 pictures were there already" in threedis.notes
    again = json.loads(Path("one/run.json").read_text())
    assert {**again, "seconds": 0} == {**record, "seconds": 0}


def test_render_takes_a_config_that_flags_override(threedis) -> None:
    Path("run.yaml").write_text(
        "layout: scene.yaml\ndepth: depth.png\nrenderers: {fake: {steps: 2}}\nseeds: [1, 2]\n"
    )
    _, out, _ = threedis("render", "--config", "run.yaml", "--seed", "9", "--out", "x", "--json")
    document = json.loads(out)
    assert [image["seed"] for image in document["images"]] == [9]
    assert document["renderers"]["fake"]["options"]["steps"] == 2


def test_a_flag_of_zero_overrides_the_config(threedis) -> None:
    Path("run.yaml").write_text("{depth_model: fake-depth, depth_seed: 4, renderers: [fake]}")
    _, out, _ = threedis(
        *("render", "scene.yaml", "--config", "run.yaml", "--depth-seed", "0", "--seed", "0"),
        *("--out", "run", "--json"),
    )
    assert json.loads(out)["depth"]["seed"] == 0


def test_render_shows_warnings_on_stderr(threedis) -> None:
    _, out, err = threedis(
        *("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake"),
        *("--width", "128", "--height", "64", "--out", "run", "--json"),
    )
    assert err.startswith("warning: the depth map is 64 x 64")
    json.loads(out)


CLAIMS = """
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_renderers(register):
        register("fake", "threedis_core.testing.fakes:FakeRenderer")
        register("mine", "threedis_core.testing.fakes:FakeRenderer")
"""


def test_a_name_that_two_plugins_want_is_said_when_it_is_used(threedis, plugins) -> None:
    plugins.install("zz-claims", CLAIMS)
    common = ("render", "scene.yaml", "--depth", "depth.png", "--renderer")
    code, out, err = threedis(*common, "fake", "--out", "one")
    assert (code, out) == (0, "one/fake-seed0.png\none/sheet.png\n")
    assert err == (
        "warning: the name 'fake' of zz-claims 1.0 is already registered by threedis-fakes 1.0, "
        "which keeps it; uninstall one of them\n"
    )
    assert threedis(*common, "mine", "--out", "two") == (
        0,
        "two/mine-seed0.png\ntwo/sheet.png\n",
        "",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.yaml"], "nope.yaml"),
        (["scene.yaml"], "give one with --depth FILE"),
        (["scene.yaml", "--depth", "nope.png"], "nope.png"),
        (["scene.yaml", "--depth", "scene.yaml"], "scene.yaml"),
        (["scene.yaml", "--depth", "depth.png", "--renderer", "fakee"], "Did you mean 'fake'?"),
        (["scene.yaml", "--depth", "depth.png", "--set", "stepz=1"], "Did you mean 'steps'?"),
        (["scene.yaml", "--depth", "depth.png", "--set", "fak.x=1"], "Did you mean 'fake'?"),
        (["scene.yaml", "--depth", "depth.png", "--seed", "-1"], "seed is -1"),
        (["scene.yaml", "--depth", "depth.png", "--seed", "1.5"], "--seed 1.5: expected a whole"),
        (["scene.yaml", "--depth", "depth.png", "--set", "max_instances=1"], "at most 1"),
        (["scene.yaml", "--depth", "depth.png", "--out", "."], "not empty"),
        (["--depth", "depth.png"], "no layout: give a layout file"),
        (["scene.yaml", "--config", "none.yaml"], "none.yaml"),
        (["scene.yaml", "--image-id", "3"], "scene.yaml"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(
    threedis, arguments, message
) -> None:
    before = sorted(threedis.folder.iterdir())
    renderer = [] if "--renderer" in arguments else ["--renderer", "fake"]
    assert message in threedis.fails("render", *arguments, *renderer)
    assert sorted(threedis.folder.iterdir()) == before


def test_a_missing_default_renderer_says_what_to_do(threedis) -> None:
    line = threedis.fails("render", "scene.yaml", "--depth", "depth.png")
    assert "'pocket-sd15' is not installed; name one with --renderer. Installed: fake" in line


def test_other_failures_exit_with_1_and_one_line(threedis, plugins) -> None:
    plugins.install(
        "late",
        "from threedis_core.plugin.hookspecs import hookimpl\n"
        "@hookimpl\ndef threedis_register_renderers(register):\n"
        "    register('late', 'no_such_module_here:Thing')\n",
    )
    line = threedis.fails(
        *("render", "scene.yaml", "--depth", "depth.png", "--renderer", "late"), code=1
    )
    assert "cannot be imported" in line


def test_debug_shows_the_traceback(threedis, monkeypatch) -> None:
    _, _, err = threedis("--debug", "render", "nope.yaml", "--renderer", "fake")
    assert "Traceback" in err
    monkeypatch.setenv("THREEDIS_DEBUG", "1")
    _, _, err = threedis("render", "nope.yaml", "--renderer", "fake")
    assert "Traceback" in err


def test_ctrl_c_before_the_first_picture_exits_with_130_and_leaves_nothing(
    threedis, monkeypatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("threedis_core.testing.fakes.FakeRenderer.render", interrupt)
    code, out, err = threedis(
        *("render", "scene.yaml", "--depth", "depth.png", "--renderer", "fake", "--out", "run")
    )
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert not Path("run").exists(), "the same command can be given again"


def test_plugins_lists_what_is_there_and_what_is_broken(threedis, plugins) -> None:
    plugins.install("broken", "import no_such_thing_anywhere", version="0.3")
    code, out, _ = threedis("plugins")
    assert code == 0
    assert re.search(r"^  fake +No model at all +\[threedis-fakes 1\.0\]$", out, re.MULTILINE)
    assert "(preset of fake)" in out
    assert re.search(r"broken 0\.3 .*ModuleNotFoundError", out)
    _, out, _ = threedis("plugins", "--json")
    document = json.loads(out)
    assert {"kind": "renderer", "name": "pale", "backend": "fake"}.items() <= next(
        entry.items() for entry in document["plugins"] if entry["name"] == "pale"
    )
    assert document["failures"][0]["distribution"] == "broken"


def test_plugins_may_add_commands(threedis, plugins) -> None:
    plugins.install("talkative", COMMANDS)
    assert threedis("hello", "--name", "world")[1] == "hello world, fake\n"
    assert threedis("bench", "speed")[1] == "fast\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (COMMANDS.replace("name: str", "name: int | str"), "Union types"),
        (COMMANDS.replace("@app.command()", "raise OSError('no disk')"), "no disk"),
        (COMMANDS.replace("@app.command()", "raise SystemExit(0)"), "SystemExit: 0"),
        (COMMANDS.replace("@app.command()", "raise GeneratorExit"), "GeneratorExit"),
    ],
)
def test_broken_commands_are_left_out_whole_and_reported(threedis, plugins, source, reason) -> None:
    plugins.install("talkative", source)
    code, out, _ = threedis("plugins")
    assert code == 0
    assert re.search(rf"talkative 1\.0 .*its commands are left out: .*{reason}", out)
    assert threedis("hello")[0] == 2
    assert threedis("bench", "speed")[0] == 2


def test_a_command_whose_name_is_taken_is_left_out_alone(threedis, plugins) -> None:
    plugins.install("bold", COMMANDS.replace("@app.command()", "@app.command('render')"))
    plugins.install("talkative", COMMANDS)
    _, out, _ = threedis("plugins")
    assert "bold 1.0 (bold): its command 'render' is left out: there is one of that" in out
    assert "talkative 1.0 (talkative): its command 'speed' is left out: there is one of that" in out
    assert threedis("bench", "speed")[1] == "fast\n"
    assert threedis("hello", "--name", "world")[1] == "hello world, fake\n"
    assert "--renderer" in threedis("render", "--help")[1]


def test_layout_check_says_what_is_in_a_file(threedis) -> None:
    assert threedis("layout", "check", "scene.yaml") == (0, "scene.yaml: ok, 2 instances\n", "")
    _, out, _ = threedis("layout", "check", "scene.yaml", "--json")
    assert Layout.from_dict(json.loads(out)) == LAYOUT


def test_layout_check_refuses_a_wrong_file_in_one_line(threedis) -> None:
    Path("bad.yaml").write_text("{prompt: a, instances: [{prompt: b, box: [1, 0, 0, 1]}]}")
    line = threedis.fails("layout", "check", "bad.yaml")
    assert "bad.yaml: instances[0] ('b').box" in line


def test_layout_draw_writes_a_picture(threedis) -> None:
    assert threedis("layout", "draw", "scene.yaml") == (0, "scene-layout.png\n", "")
    assert Image.open("scene-layout.png").size == (512, 512)
    assert threedis("layout", "draw", "scene.yaml", "--out", "my.png")[1] == "my.png\n"


def test_layout_draw_makes_the_folder(threedis) -> None:
    assert threedis("layout", "draw", "scene.yaml", "--out", "new/one/x.PNG")[0] == 0
    assert Image.open("new/one/x.PNG").format == "PNG"


@pytest.mark.parametrize("out", [".", "scene.yaml", "x.jpg", ".png"])
def test_layout_draw_writes_pngs_under_their_name_only(threedis, out) -> None:
    before = Path("scene.yaml").read_bytes()
    line = threedis.fails("layout", "draw", "scene.yaml", "--out", out)
    assert f"--out {out}: expected a name that ends in .png" in line
    assert Path("scene.yaml").read_bytes() == before


def test_a_place_that_cannot_be_written_is_found_first(threedis) -> None:
    line = threedis.fails("layout", "draw", "no-layout.yaml", "--out", "scene.yaml/x.png")
    assert "scene.yaml is no folder" in line
    line = threedis.fails("render", "scene.yaml", "--renderer", "fake", "--out", "depth.png/x")
    assert "depth.png is no folder" in line


def test_version_and_help(threedis) -> None:
    assert threedis("--version")[1] == f"threedis {__version__}\n"
    for command in ([], ["render"], ["plugins"], ["doctor"], ["layout"], ["bench"]):
        code, out, _ = threedis(*command, "--help")
        assert code == 0
        assert "Usage: threedis" in out
    out = threedis("render", "--help")[1]
    assert "--depth depth.png" in out
    words = " ".join(out.replace("│", " ").split())
    assert "into regions; see 'threedis plugins'" in words


COCO = {
    "images": [{"id": 7, "width": 100, "height": 50, "file_name": "a.jpg"}],
    "categories": [{"id": 1, "name": "cup"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 10, 50, 25]}],
}
COCO_MIG = """
a red cup:
  coco_id: 5
  a red cup: [[0.1, 0.1, 0.5, 0.5]]
two cups:
  coco_id: 6
  a blue cup: [[0, 0, 0.5, 1]]
"""


def test_layouts_come_from_coco_and_coco_mig_files(threedis) -> None:
    Path("coco.json").write_text(json.dumps(COCO))
    Path("mig.yaml").write_text(COCO_MIG)
    _, out, _ = threedis("layout", "check", "coco.json", "--image-id", "7", "--json")
    assert json.loads(out)["instances"][0]["label"] == "cup"
    _, out, _ = threedis("layout", "check", "mig.yaml", "--image-id", "6", "--json")
    assert json.loads(out)["prompt"] == "two cups"
    assert "--image-id" in threedis.fails("layout", "check", "coco.json")
    assert "2 layouts" in threedis.fails("layout", "check", "mig.yaml")
    assert "leave --image-id out" in threedis.fails(
        "layout", "check", "scene.yaml", "--image-id", "0"
    )
    line = threedis.fails("layout", "check", "mig.yaml", "--image-id", "1")
    assert "no layout with coco_id 1; it has 2 layouts, with ids such as 5, 6" in line


def test_a_large_file_without_image_id_says_that_a_coco_file_needs_it(threedis) -> None:
    Path("coco.json").write_text(json.dumps(COCO) + " " * 2**24)
    line = threedis.fails("layout", "check", "coco.json")
    assert "expected at most 16777216" in line
    assert "say which picture with --image-id" in line
    assert threedis("layout", "check", "coco.json", "--image-id", "7")[0] == 0


def test_a_depth_map_of_another_shape_still_renders(threedis) -> None:
    DepthMap(sample_depth(LAYOUT, 128, 64).values).save("wide.png")
    _, out, _ = threedis(
        "render", "scene.yaml", "--depth", "wide.png", "--renderer", "fake", "--out", "run"
    )
    assert Image.open(out.split()[0]).size == (88, 48)
