"""What reaches stdout and stderr: results there, words here, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from threedis_core.testing import sample_depth, sample_layout

ESCAPES = "\x1b[31m\x07\u202e"
RUN = [sys.executable, "-m", "threedis_core.cli"]
NOISY = """
    print("imported")
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.testing.fakes import FakeDepthModel, FakeRenderer

    class Noisy(FakeRenderer):
        def __init__(self, options):
            super().__init__(options)
            print("made")

        @property
        def capabilities(self):
            print("asked")
            return super().capabilities

        def render(self, requests, progress):
            print("rendering")
            return super().render(requests, progress)

        def inspect(self):
            print("inspected")
            return super().inspect()

        def close(self):
            print("closed")

    class NoisyDepth(FakeDepthModel):
        def generate(self, requests, progress):
            print("generating")
            return super().generate(requests, progress)

    @hookimpl
    def threedis_register_renderers(register):
        print("registering")
        register("noisy", "noisy:Noisy")

    @hookimpl
    def threedis_register_depth_models(register):
        register("noisy-depth", "noisy:NoisyDepth")

    @hookimpl
    def threedis_register_commands(app, bench):
        print("commanding")
        @app.command()
        def talk():
            print("a result")
"""
RUDE = f"""
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.plugin.inspection import Inspection, ModelPart, NeededFile
    from threedis_core.plugin.interfaces import RenderResult
    from threedis_core.testing.fakes import FakeRenderer

    BAD = {ESCAPES!r}

    class Rude(FakeRenderer):
        def render(self, requests, progress):
            progress(BAD, 1, 1)
            found = super().render(requests, progress)
            return [RenderResult(one.image, {{}}, (BAD + "x" * 10**5,)) for one in found]

        def inspect(self):
            files = (NeededFile(BAD, 1, False),)
            notes, commands = (BAD,), (BAD,)
            return Inspection(BAD, BAD, (ModelPart(BAD, BAD, files),), (), BAD, commands, notes)

    class Failing(FakeRenderer):
        def render(self, requests, progress):
            raise ValueError(BAD + "\\n" + "x" * 10**6)

    @hookimpl
    def threedis_register_renderers(register):
        register("rude", "rude:Rude", BAD + "y" * 10**5)
        register("failing", "rude:Failing", "lone surrogate \\udcff")

    @hookimpl
    def threedis_register_commands(app, bench):
        raise ValueError(BAD)
"""


def start(site: Path, *arguments: str | bytes, **environment: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(site), *filter(None, sys.path)])
    return subprocess.Popen(
        [*RUN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def finish(site: Path, *arguments: str | bytes, **environment: str) -> tuple[int, bytes, bytes]:
    process = start(site, *arguments, **environment)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, without_waits(err)


def without_waits(err: bytes) -> bytes:
    """What is on stderr but for the lines that a slow machine adds: what is being imported."""
    return re.sub(rb"(?m)^waiting for .* to be imported \.\.\.\n", b"", err)


def obeyed(text: str) -> str:
    """The letters of ``text`` that a terminal would act on, line breaks aside."""
    return "".join(letter for letter in text if letter != "\n" and not letter.isprintable())


@pytest.mark.parametrize(
    "arguments",
    [
        ("plugins", "--json"),
        ("doctor", "--renderer", "noisy", "--json", "-"),
        ("render", "scene.yaml", "--depth", "depth.png", "--renderer", "noisy", "--json"),
        ("render", "scene.yaml", "--depth-model", "noisy-depth", "--renderer", "noisy", "--json"),
    ],
)
def test_what_plugins_print_stays_out_of_json_documents(threedis, plugins, arguments) -> None:
    plugins.install("noisy", NOISY)
    code, out, err = threedis(*arguments)
    assert code == 0
    json.loads(out)
    assert "imported\nregistering\n" in err


def test_what_plugins_print_stays_out_of_results_but_a_commands_own(threedis, plugins) -> None:
    plugins.install("noisy", NOISY)
    common = ("render", "scene.yaml", "--depth", "depth.png", "--out", "run", "--renderer")
    assert threedis(*common, "noisy")[1] == "run/noisy-seed0.png\nrun/sheet.png\n"
    depth = ("depth", "generate", "scene.yaml", "--model", "noisy-depth")
    assert threedis(*depth)[1] == "scene-depth.png\n"
    assert threedis("talk")[1] == "a result\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("plugins",), 0),
        (("doctor",), 0),
        (("doctor", "--renderer", "rude"), 1),
        (("render", "scene.yaml", "--depth", "depth.png", "--renderer", "rude"), 0),
        (("render", "scene.yaml", "--depth", "depth.png", "--renderer", "failing"), 1),
        (("render", f"no{ESCAPES}\n.yaml"), 2),
        (("layout", "check", f"no{ESCAPES}" + "x" * 10**5), 2),
        (("render", "scene.yaml", f"--no-such{ESCAPES}" + "x" * 10**5), 2),
        (("render", "scene.yaml", "--set", f"fake.{ESCAPES}=1"), 2),
        (("render", "scene.yaml", "--renderer", ESCAPES), 2),
        (("render", "scene.yaml", "--width", ESCAPES), 2),
        ((ESCAPES,), 2),
    ],
)
def test_nothing_a_terminal_obeys_and_nothing_endless_is_printed(
    threedis, plugins, arguments, code
) -> None:
    plugins.install("rude", RUDE)
    found, out, err = threedis(*arguments)
    assert found == code
    assert obeyed(out + err) == ""
    assert max(map(len, (out + err).splitlines())) < 4000


def test_names_of_results_are_made_printable(threedis) -> None:
    Path("scene.yaml").rename(f"scene{ESCAPES}.yaml")
    code, out, _ = threedis("layout", "draw", f"scene{ESCAPES}.yaml", "--out", f"x{ESCAPES}.png")
    assert (code, out) == (0, "x\\x1b[31m\\x07\\u202e.png\n")
    assert Path(f"x{ESCAPES}.png").is_file()
    _, out, _ = threedis("layout", "check", f"scene{ESCAPES}.yaml")
    assert out == "scene\\x1b[31m\\x07\\u202e.yaml: ok, 2 instances\n"


@pytest.mark.parametrize("arguments", [("--nope",), ("render", "--seed"), ("layout", "check")])
def test_what_is_wrong_with_the_arguments_is_one_line(threedis, arguments) -> None:
    assert "; see 'threedis " in threedis.fails(*arguments)


def test_no_arguments_show_help(threedis) -> None:
    code, out, err = threedis()
    assert code == 2
    assert "Usage: threedis" in out + err
    assert "error:" not in err


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1:strict"},
    ],
)
def test_any_encoding_can_show_anything(plugins, tmp_path, monkeypatch, environment) -> None:
    monkeypatch.chdir(tmp_path)
    sample_layout(1).save("größe-深度.yaml")
    code, out, err = finish(plugins.path, "layout", "check", "größe-深度.yaml", **environment)
    assert (code, err) == (0, b"")
    assert out.endswith(b"yaml: ok, 1 instance\n")
    code, _, err = finish(plugins.path, "layout", "check", "nichts-深度.yaml", **environment)
    assert code == 2
    assert err.startswith(b"error: nichts-")
    assert err.count(b"\n") == 1
    assert finish(plugins.path, "doctor", "--help", **environment)[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [("plugins",), ("layout", "check", "scene.yaml"), ("render", "--help"), ("doctor",)],
)
def test_a_full_disk_under_stdout_is_one_line_and_a_failure(
    plugins, tmp_path, monkeypatch, arguments
) -> None:
    monkeypatch.chdir(tmp_path)
    sample_layout(1).save("scene.yaml")
    path = os.pathsep.join([str(plugins.path), *filter(None, sys.path)])
    with open("/dev/full", "wb") as full:
        finished = subprocess.run(
            [*RUN, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
    line = b"error: the output cannot be written: No space left on device\n"
    assert (finished.returncode, without_waits(finished.stderr)) == (1, line)


@pytest.mark.parametrize("arguments", [("plugins", "--json"), ("render", "--help")])
def test_a_reader_that_leaves_early_is_no_error(plugins, arguments) -> None:
    process = start(plugins.path, *arguments)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert without_waits(process.stderr.read()) == b""
    assert process.wait(300) == 1


def test_file_names_that_are_no_utf_8_are_read_and_shown(plugins, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample_layout(1).save("scene.yaml")
    os.rename(b"scene.yaml", b"sc\xffne.yaml")
    code, out, err = finish(plugins.path, "layout", "check", b"sc\xffne.yaml")
    assert (code, out, err) == (0, b"sc\\udcffne.yaml: ok, 1 instance\n", b"")
    code, out, _ = finish(plugins.path, "layout", "draw", b"sc\xffne.yaml", "--out", b"n\xfe/x.png")
    assert (code, out) == (0, b"n\\udcfe/x.png\n")
    assert os.path.isfile(b"n\xfe/x.png")


HUGE = "0x" + "f" * 5000
DIGITS = "9" * 5000
FAKE = "render scene.yaml --renderer fake"
DEPTH = "depth generate scene.yaml --model fake-depth"


@pytest.mark.parametrize(
    "line",
    [
        "render no\udcff.yaml",
        f"{FAKE} --depth no\udcff.png",
        "render scene.yaml --config no\udcff.yaml",
        "render scene.yaml --renderer f\udcffke",
        "render scene.yaml --renderer fake@\udcff",
        f"{FAKE} --depth-model f\udcffke",
        f"{FAKE} --region-refiner \udcff",
        f"{FAKE} --set fake.\udcff=1",
        f"{FAKE} --set fake.steps=\udcff",
        f"{FAKE} --set \udcff.steps=1",
        f"{FAKE} --seed \udcff",
        f"{FAKE} --seed {DIGITS}",
        f"{FAKE} --seed {HUGE}",
        f"{FAKE} --width {DIGITS}",
        f"{FAKE} --set steps={HUGE}",
        f"{FAKE} --set tint=[{HUGE}]",
        "render ~nosuchuser/x.yaml",
        f"{FAKE} --depth ~nosuchuser/x.png",
        "depth generate scene.yaml --model \udcff",
        f"{DEPTH} --set \udcff=1",
        f"{DEPTH} --set noise={HUGE}",
        f"{DEPTH} --seed {DIGITS}",
        "depth estimate no\udcff.png --set \udcff.x=\udcff",
        "doctor --renderer \udcff",
        f"doctor --renderer fake --set steps={HUGE}",
        f"layout check scene.yaml --image-id {DIGITS}",
        "\udcff",
    ],
    ids=lambda line: ascii(line)[:60],
)
def test_odd_arguments_are_one_line_and_exit_2(threedis, line) -> None:
    said = threedis.fails(*line.split())
    assert len(said) < 1000
    assert obeyed(said) == ""


def test_a_home_of_nobody_is_a_plain_name_and_written_nowhere_else(threedis) -> None:
    depth = sample_depth(sample_layout(2), 64, 64)
    Path("~nosuchuser").mkdir()
    depth.save("~nosuchuser/depth.png")
    common = ("render", "scene.yaml", "--renderer", "fake", "--depth", "~nosuchuser/depth.png")
    code, out, _ = threedis(*common, "--out", "~nosuchuser/run")
    assert (code, out) == (0, "~nosuchuser/run/fake-seed0.png\n~nosuchuser/run/sheet.png\n")


CHATTY_LIBRARY = """
import os
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.testing.fakes import FakeRenderer

class Chatty(FakeRenderer):
    def render(self, requests, progress):
        os.write(1, b"noise of a C library")
        return super().render(requests, progress)

@hookimpl
def threedis_register_renderers(register):
    register("chatty", "chatty:Chatty")
"""


def test_what_a_library_writes_to_the_descriptor_stays_out_of_json_too(plugins, tmp_path) -> None:
    plugins.install("chatty", CHATTY_LIBRARY)
    layout = sample_layout(2)
    layout.save(tmp_path / "scene.yaml")
    sample_depth(layout, 64, 64).save(tmp_path / "depth.png")
    command = [sys.executable, "-m", "threedis_core.cli", "render", "scene.yaml", "--json"]
    done = subprocess.run(
        [*command, "--depth", "depth.png", "--renderer", "chatty", "--out", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(plugins.path)},
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["folder"] == "run"
    assert "noise of a C library" in done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--steps", "0"], "--steps 0: expected greater than or equal to 1"),
        (["--steps=many"], "--steps many: expected a whole number"),
        (["--guidance", "x"], "--guidance x: expected a number"),
        (["--steps", "3", "--steps", "q"], "--steps q: expected a whole number"),
        (["--hook", "of"], "--hook of: 'of' is not one of 'on', 'off', 'both'"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_shown(threedis, words, line) -> None:
    said = threedis.fails("render", "scene.yaml", *words)
    assert said == f"error: {line}; see 'threedis render --help'"
