from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from threedis_core.cli.doctor import print_report
from threedis_core.doctor import Examination, Report, examine, first_obstacle, recommended
from threedis_core.errors import OptionError, RenderError, UnknownPluginError
from threedis_core.machine import Device, Machine, look_at_machine
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.inspection import Inspection, MemoryNeed, ModelPart, NeededFile
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import RunConfig
from threedis_core.testing import FakeRenderer

GIB = 2**30
UNET = ModelPart(
    "unet",
    "me/[model]",
    (NeededFile("unet/config.json", 700, True), NeededFile("unet/w.safetensors", 4 * GIB, False)),
)
WORDS = ModelPart("tokenizer", "me/[model]", (NeededFile("tokenizer/vocab.json", None, False),))


class Wanting(FakeRenderer):
    """Has half of what it needs."""

    def inspect(self) -> Inspection:
        return Inspection(
            device="cpu",
            dtype="float32",
            parts=(UNET, WORDS),
            memory=(MemoryNeed("none", 0, 2**60), MemoryNeed("model", 0, 1)),
            memory_basis="computed from nothing",
            commands=("hf download me/[model] unet/w.safetensors",),
            notes=("Licence: ours.",),
        )


class Refusing(FakeRenderer):
    """Cannot work with these options."""

    def inspect(self) -> Inspection:
        raise OptionError("device is 'cuda', but there is none")


class Crashing(FakeRenderer):
    """Has a mistake in it."""

    def inspect(self) -> Inspection:
        raise KeyError("oops")


class Leaving(FakeRenderer):
    """Ends the program, as code that was a script once does."""

    def inspect(self) -> Inspection:
        raise SystemExit(0)


class Wordless(FakeRenderer):
    """Returns nothing."""

    def inspect(self) -> Any:
        return None


class Secretive(FakeRenderer):
    """Has a note that nobody can read."""

    def inspect(self) -> Inspection:
        return Inspection(notes=(object(),))  # type: ignore[arg-type]


BROKEN = (Crashing, Leaving, Wordless, Secretive)


class Renderers:
    """Registers the classes above, and one whose module is not there."""

    @hookimpl
    def threedis_register_renderers(self, register) -> None:
        for target in (Wanting, Refusing, *BROKEN):
            register(target.__name__.lower(), f"{__name__}:{target.__name__}")
        register("gone", "no_such_module_anywhere:Thing")


@pytest.fixture
def ward(registry: PluginRegistry) -> PluginRegistry:
    registry.add(Renderers(), PluginSource("ward", "1.0"))
    return registry


@pytest.fixture
def doctor(threedis, ward, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setattr("threedis_core.cli.app.load_plugins", lambda: ward)
    return lambda *arguments: threedis("doctor", *arguments)


def names(*renderers: str) -> RunConfig:
    return RunConfig.model_validate({"renderers": renderers})


def test_a_renderer_that_needs_nothing_is_ready(ward) -> None:
    (examined,) = examine(names("fake"), ward).renderers
    assert examined.inspection == Inspection()
    assert first_obstacle(examined) is None


def test_every_renderer_and_preset_is_examined_when_none_is_named(ward) -> None:
    report = examine(RunConfig(), ward)
    assert {examined.name: examined.inspection.ready for examined in report.renderers} == {
        **{renderer.__name__.lower(): False for renderer in BROKEN},
        "fake": True,
        "fake2": True,
        "gone": False,
        "pale": True,
        "refusing": False,
        "wanting": False,
    }


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "wanting",
            "renderer 'wanting' is not ready: 'unet/w.safetensors' of 'me/[model]', and 1 more "
            "file is missing; the report says how to get them",
        ),
        ("refusing", "renderer 'refusing' is not ready: device is 'cuda', but there is none"),
        (
            "crashing",
            "renderer 'crashing' is not ready: the inspection of renderer 'crashing' failed: "
            "KeyError: 'oops'",
        ),
        ("leaving", "the inspection of renderer 'leaving' failed: SystemExit: 0"),
        ("wordless", "it returned NoneType; expected an Inspection"),
        ("secretive", "the inspection of renderer 'secretive' failed: TypeError: Object of type"),
        ("gone", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_what_stands_in_the_way_is_said_in_the_last_line(doctor, name, line) -> None:
    code, _, err = doctor("--renderer", "fake", "--renderer", name)
    assert code == 1
    assert line in err.splitlines()[-1]


def test_the_tables_name_parts_files_memory_and_the_way_to_get_them(doctor) -> None:
    _, out, _ = doctor("--renderer", "wanting")
    text = re.sub(r"\s+", " ", out)
    for words in (
        "wanting no cpu float32 2 model",
        "From me/[model]: Part Files Size",
        "unet 1 of 2 4.0 GiB tokenizer 0 of 1 unknown Missing: unet/w.safetensors",
        "Missing: tokenizer/vocab.json",
        "too large",
        "fits",
        "Memory: computed from nothing.",
        "Licence: ours.",
        "hf download me/[model] unet/w.safetensors",
    ):
        assert words in text


def test_names_and_paths_are_whole_in_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name, path = "3dis-depth-published", "text_encoder_2/" + 3 * "model-of-many-words-" + ".index"
    part = ModelPart("text_encoder_2", "a-publisher/" + "m" * 40, (NeededFile(path, None, False),))
    found = Inspection("cuda:0", "bfloat16", (part,), (MemoryNeed("sequential", 2**60, 0),))
    machine = Machine((Device("cuda:0", "a card", GIB, GIB), Device("cpu", "2 cores", GIB, GIB)))
    print_report(Report(machine, {}, (Examination(name, found),), ()), detailed=True)
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.split()[:1] == [name])
    assert row.split() == [name, "no", "cuda:0", "bfloat16", "1", "nothing", "fits"]
    assert len(row) <= 80
    assert f"From {part.source}:" in lines
    assert f"  Missing: {path}" in lines


def test_without_names_it_lists_all_and_ends_well_whatever_is_missing(doctor) -> None:
    code, out, err = doctor()
    assert (code, err) == (0, "")
    assert re.search(r"^ *fake +yes", out, re.MULTILINE)
    assert re.search(r"^ *wanting +no", out, re.MULTILINE)


def test_broken_plugins_are_reported_and_stop_nothing(threedis, plugins) -> None:
    plugins.install("broken", "import no_such_thing_anywhere", version="0.3")
    code, out, _ = threedis("doctor", "--renderer", "fake")
    assert code == 0
    assert "plugin broken 0.3 does not work: cannot be imported: ModuleNotFoundError" in out


def test_json_holds_everything_and_is_the_only_output(doctor) -> None:
    code, out, _ = doctor("--renderer", "wanting", "--json", "-")
    document = json.loads(out)
    assert code == 1
    (found,) = document["renderers"]
    assert (found["name"], found["ready"]) == ("wanting", False)
    assert found["parts"][0]["files"][1] == {
        "path": "unet/w.safetensors",
        "size": 4 * GIB,
        "present": False,
    }
    assert [need["fits"] for need in found["memory"]] == [False, True]
    assert document["devices"][-1]["name"] == "cpu"
    assert {"threedis", "torch", "python"} <= document["versions"].keys()


def test_json_goes_to_a_file_beside_the_tables(doctor) -> None:
    code, out, _ = doctor("--renderer", "fake", "--json", "report.json")
    assert code == 0
    assert "fake" in out
    assert json.loads(Path("report.json").read_text())["renderers"][0]["ready"] is True
    assert doctor("--json", ".")[0] == 2


def test_options_come_from_settings_and_configs_as_in_a_run(doctor) -> None:
    Path("run.yaml").write_text("renderers: {wanting: {}, wanting@small: {steps: 1}}")
    code, _, err = doctor("--config", "run.yaml")
    assert code == 1
    assert "'wanting' is not ready" in err
    code, _, err = doctor("--renderer", "fake", "--set", "stepz=1")
    assert (code, err.count("\n")) == (2, 1)
    assert "Did you mean 'steps'?" in err


def test_an_unknown_renderer_is_refused(ward) -> None:
    with pytest.raises(UnknownPluginError, match="Did you mean 'fake'"):
        examine(names("fakee"), ward)


def test_a_renderer_that_raises_at_birth_is_not_ready(ward, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise RenderError("no licence key")

    monkeypatch.setattr(Wanting, "__init__", fail)
    (examined,) = examine(names("wanting"), ward).renderers
    assert examined.inspection.problems == ("no licence key",)


def gpu(free: int | None) -> Machine:
    card = Device("cuda:0", "Card", 24 * GIB, free)
    return Machine((card, Device("cpu", "2 cores", 32 * GIB, 16 * GIB)))


@pytest.mark.parametrize(
    ("free", "expected"),
    [(20 * GIB, "none"), (10 * GIB, "model"), (2 * GIB, "sequential"), (GIB, None), (None, None)],
)
def test_the_roomiest_offload_mode_that_fits_is_recommended(free, expected) -> None:
    needs = [("none", 18), ("model", 9), ("sequential", 2)]
    memory = tuple(MemoryNeed(name, size * GIB, 10 * GIB) for name, size in needs)
    assert recommended(gpu(free), Inspection(device="cuda", memory=memory)) == expected


def test_offloading_needs_main_memory_too() -> None:
    need = MemoryNeed("sequential", GIB, 17 * GIB)
    assert gpu(20 * GIB).fits(need, "cuda:0") is False


def test_on_the_cpu_only_main_memory_counts() -> None:
    assert gpu(0).fits(MemoryNeed("none", 0, 8 * GIB), "cpu") is True


def test_the_machine_has_a_cpu_with_memory() -> None:
    cpu = look_at_machine().cpu
    assert cpu.name == "cpu"
    assert cpu.free is not None
    assert 0 < cpu.free <= cpu.total
