from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from threedis_core.errors import OptionError, PluginError, UnknownPluginError
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.refiners.boxes import BoxRefiner
from threedis_core.testing import FakeDepthModel, FakeRenderer

HOOK = "from threedis_core.plugin.hookspecs import hookimpl\n"
FAKE = "threedis_core.testing.fakes:FakeRenderer"


def renderer_plugin(*names: str, target: str = FAKE) -> str:
    lines = "".join(f"    register({name!r}, {target!r})\n" for name in names)
    return f"{HOOK}@hookimpl\ndef threedis_register_renderers(register):\n{lines}"


def test_renderers_depth_models_and_refiners_are_made_by_name(registry) -> None:
    assert isinstance(registry.renderer("fake"), FakeRenderer)
    assert isinstance(registry.depth_model("fake-depth"), FakeDepthModel)
    assert isinstance(registry.region_refiner("boxes"), BoxRefiner)


def test_options_are_validated_and_passed_on(registry) -> None:
    assert registry.renderer("fake", {"steps": 7}).options.steps == 7
    with pytest.raises(OptionError, match=r"renderer 'fake': steps is 0: .*greater than or equal"):
        registry.renderer("fake", {"steps": 0})


def test_an_unknown_option_lists_the_known_ones_and_suggests(registry) -> None:
    with pytest.raises(OptionError) as caught:
        registry.renderer("fake", {"stepz": 7})
    assert str(caught.value) == (
        "Unknown option 'stepz' for renderer 'fake'. It knows: max_instances, steps, tint. "
        "Did you mean 'steps'?"
    )


def test_a_preset_sets_options_that_given_ones_override(registry) -> None:
    assert registry.renderer("pale").options.tint == 0.6
    assert registry.renderer("pale", {"tint": 0.9}).options.tint == 0.9
    assert registry.renderer("fake").options.tint == 0.9


def test_a_presets_options_cannot_be_changed_from_outside(plugins) -> None:
    plugins.install(
        "leaky",
        renderer_plugin("one")
        + "OPTIONS = {'tint': 0.1}\n"
        + "@hookimpl\ndef threedis_register_presets(register):\n"
        + "    register('two', 'one', OPTIONS)\n    OPTIONS['tint'] = 0.8\n",
    )
    assert plugins.load().renderer("two").options.tint == 0.1


def test_presets_of_depth_models_work_too(plugins) -> None:
    plugins.install(
        "depths",
        HOOK
        + "@hookimpl\ndef threedis_register_depth_models(register):\n"
        + "    register('planes', 'threedis_core.testing.fakes:FakeDepthModel')\n"
        + "@hookimpl\ndef threedis_register_presets(register):\n"
        + "    register('still', 'planes', {'noise': 0})\n",
    )
    assert plugins.load().depth_model("still").options.noise == 0


def test_an_unknown_name_lists_what_is_installed_and_suggests(registry) -> None:
    with pytest.raises(UnknownPluginError) as caught:
        registry.renderer("fakee")
    assert str(caught.value) == (
        "Unknown renderer 'fakee'. Installed: fake, fake2, pale. Did you mean 'fake'?"
    )


def test_a_name_of_another_kind_is_unknown(registry) -> None:
    with pytest.raises(UnknownPluginError, match="Unknown renderer 'fake-depth'"):
        registry.renderer("fake-depth")


def test_a_plugin_that_fails_to_import_stops_nothing_else(plugins) -> None:
    plugins.install("broken", "raise RuntimeError('no luck')")
    plugins.install("exits", "import sys; sys.exit(3)")
    plugins.install("gone", "raise GeneratorExit")
    plugins.install("own", "class OwnError(BaseException): pass\nraise OwnError('mine')")
    plugins.install("works", renderer_plugin("one"))
    registry = plugins.load()
    assert registry.names("renderer") == ("one",)
    assert {str(failure.source): failure.reason for failure in registry.failures} == {
        "broken 1.0": "cannot be imported: RuntimeError: no luck",
        "exits 1.0": "cannot be imported: SystemExit: 3",
        "gone 1.0": "cannot be imported: GeneratorExit",
        "own 1.0": "cannot be imported: OwnError: mine",
    }
    with pytest.raises(UnknownPluginError, match=r"4 plugin\(s\) failed to load"):
        registry.renderer("two")


def test_a_plugin_with_an_unknown_hook_is_refused_whole(plugins) -> None:
    plugins.install(
        "wrong-hook",
        renderer_plugin("one") + "@hookimpl\ndef threedis_register_samplers(register): pass\n",
    )
    registry = plugins.load()
    assert registry.names("renderer") == ()
    assert "threedis_register_samplers" in registry.failures[0].reason


def test_a_hook_with_a_wrong_argument_is_refused(plugins) -> None:
    plugins.install("args", HOOK + "@hookimpl\ndef threedis_register_renderers(add): pass\n")
    assert "add" in plugins.load().failures[0].reason


def test_a_plugin_without_any_hook_is_reported(plugins) -> None:
    plugins.install("empty", "def threedis_register_renderers(register): pass")
    assert "implements no hook" in plugins.load().failures[0].reason


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise KeyError('oops')", "KeyError: 'oops'"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise type('OwnError', (BaseException,), {})('mine')", "OwnError: mine"),
    ],
)
def test_a_plugin_that_raises_halfway_registers_nothing(plugins, statement, reason) -> None:
    plugins.install("halfway", renderer_plugin("one") + f"    {statement}\n")
    plugins.install("works", renderer_plugin("two"))
    registry = plugins.load()
    assert registry.names("renderer") == ("two",)
    assert [failure.reason for failure in registry.failures] == [reason]


@pytest.mark.parametrize("where", ["", "    "])
def test_ctrl_c_while_plugins_load_stays_ctrl_c(plugins, where) -> None:
    plugins.install("slow", renderer_plugin("one") + f"{where}raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        plugins.load()


def test_a_name_that_is_taken_costs_that_name_only_and_names_both(plugins) -> None:
    plugins.install("aaa", renderer_plugin("one"))
    plugins.install("bbb", renderer_plugin("one", "two"), version="2.0")
    registry = plugins.load()
    assert registry.names("renderer") == ("one", "two")
    assert registry.source_of("one").distribution == "aaa"
    assert registry.source_of("two").distribution == "bbb"
    (failure,) = registry.failures
    assert failure.reason == (
        "the name 'one' of bbb 2.0 is already registered by aaa 1.0, which keeps it; "
        "uninstall one of them"
    )
    assert (failure.source.distribution, failure.name) == ("bbb", "one")


def test_a_name_that_is_taken_by_another_kind_costs_that_name_only(plugins) -> None:
    depth = "@hookimpl\ndef threedis_register_depth_models(register):\n"
    depth += "    register('one', 'threedis_core.testing.fakes:FakeDepthModel')\n"
    plugins.install("aaa", HOOK + depth)
    plugins.install("bbb", renderer_plugin("one", "two"))
    registry = plugins.load()
    assert (registry.names("depth model"), registry.names("renderer")) == (("one",), ("two",))


def test_a_preset_of_a_name_that_was_lost_is_lost_with_it(plugins) -> None:
    preset = "@hookimpl\ndef threedis_register_presets(register):\n"
    preset += "    register('mine', 'one', {'tint': 0.1})\n    register('kept', 'two', {})\n"
    plugins.install("aaa", renderer_plugin("one"))
    plugins.install("bbb", renderer_plugin("one", "two") + preset)
    registry = plugins.load()
    assert registry.names("renderer") == ("kept", "one", "two")
    assert [failure.name for failure in registry.failures] == ["one", "mine"]


def test_a_name_that_a_plugin_registers_twice_stays_the_first(plugins) -> None:
    twice = renderer_plugin("one") + "    register('one', 'elsewhere:Thing')\n"
    plugins.install("aaa", twice)
    registry = plugins.load()
    assert isinstance(registry.renderer("one"), FakeRenderer)
    assert registry.failures[0].reason == "it registers the name 'one' twice; the first stays"


def test_built_ins_win_over_outsiders(plugins) -> None:
    plugins.install("aaa", renderer_plugin("one"))
    plugins.install("threedis", renderer_plugin("one"), module="threedis_fake_core")
    registry = plugins.load()
    assert registry.source_of("one").distribution == "threedis"
    assert registry.failures[0].source.distribution == "aaa"


@pytest.mark.parametrize("name", ["Upper", "with.dot", "", "../up", "a b", 7])
def test_a_bad_name_is_refused(plugins, name) -> None:
    plugins.install("bad", renderer_plugin(name))
    assert "expected lower-case letters" in plugins.load().failures[0].reason


@pytest.mark.parametrize("target", ["no_colon", "module:", 5])
def test_a_bad_target_is_refused(plugins, target) -> None:
    plugins.install("bad", renderer_plugin("one", target=target))
    assert "expected 'package.module:ClassName'" in plugins.load().failures[0].reason


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module_at_all:Thing", "cannot be imported: ModuleNotFoundError"),
        ("threedis_core.testing.fakes:Missing", "cannot be imported: AttributeError"),
        ("threedis_core.testing.fakes:FakeDepthModel", "is no RenderBackend"),
        ("threedis_core.testing.fakes:sample_depth", "is no RenderBackend"),
        ("threedis_core.plugin.interfaces:RenderBackend", "has no options model"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_when_it_is_used(plugins, target, message) -> None:
    plugins.install("late", renderer_plugin("one", target=target))
    registry = plugins.load()
    assert not registry.failures
    if message.startswith("is no"):
        message = "which " + message
    with pytest.raises(PluginError, match=message):
        registry.renderer("one")


LATE = """
from threedis_core.testing.fakes import FakeRenderer, FakeRendererOptions
from pydantic import field_validator
{at_import}

class Options(FakeRendererOptions):
    @field_validator("steps")
    @classmethod
    def _check(cls, value):
        {in_options}
        return value

class Late(FakeRenderer):
    Options = Options

    def __init__(self, options):
        {at_birth}
"""
PASS = {"at_import": "", "in_options": "pass", "at_birth": "pass"}


@pytest.mark.parametrize("where", PASS)
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise type('OwnError', (BaseException,), {})('mine')", "OwnError: mine"),
        ("raise KeyError('oops')", "KeyError: 'oops'"),
    ],
)
def test_a_backend_that_raises_anything_before_it_is_there_is_named(
    plugins, where, statement, reason
) -> None:
    (plugins.path / "late_backend.py").write_text(LATE.format(**PASS | {where: statement}))
    plugins.install("late", renderer_plugin("one", target="late_backend:Late"))
    how = "cannot be imported" if where == "at_import" else "cannot be made"
    with pytest.raises(PluginError) as caught:
        plugins.load().renderer("one", {"steps": 2})
    assert str(caught.value) == f"renderer 'one' of late 1.0 {how}: {reason}"


def test_a_preset_without_its_backend_is_dropped_alone(plugins) -> None:
    plugins.install(
        "orphan",
        renderer_plugin("one")
        + "@hookimpl\ndef threedis_register_presets(register):\n"
        + "    register('lost', 'nowhere', {})\n    register('kept', 'one', {})\n",
    )
    registry = plugins.load()
    assert registry.names("renderer") == ("kept", "one")
    assert "'lost' names the backend 'nowhere'" in registry.failures[0].reason


def test_a_preset_may_come_before_its_backend(plugins) -> None:
    preset = "@hookimpl\ndef threedis_register_presets(register):\n    register('p', 'one', {})\n"
    plugins.install("aaa", HOOK + preset)
    plugins.install("zzz", renderer_plugin("one"))
    registry = plugins.load()
    assert not registry.failures
    assert isinstance(registry.renderer("p"), FakeRenderer)
    assert registry.source_of("p").distribution == "zzz"


def test_preset_options_must_be_a_mapping(plugins) -> None:
    preset = "@hookimpl\ndef threedis_register_presets(register):\n    register('p', 'one', 3)\n"
    plugins.install("aaa", HOOK + preset)
    assert "expected a mapping" in plugins.load().failures[0].reason


def test_the_same_plugin_twice_is_refused_and_the_first_stays(plugins) -> None:
    module = plugins.install("once", renderer_plugin("one"))
    plugins.install("twice", renderer_plugin("one"), module=module)
    registry = plugins.load()
    assert registry.names("renderer") == ("one",)
    assert "already registered under another entry point" in registry.failures[0].reason


def test_a_plugin_may_be_an_object_of_ones_own() -> None:
    from threedis_core.plugin.hookspecs import hookimpl

    class Mine:
        @hookimpl
        def threedis_register_renderers(self, register) -> None:
            register("mine", FAKE)

    registry = PluginRegistry()
    registry.add(Mine(), PluginSource("a notebook"))
    assert isinstance(registry.renderer("mine"), FakeRenderer)


def test_installed_plugins_are_found_by_their_entry_points(plugins) -> None:
    plugins.install("found", renderer_plugin("one-of-a-test"))
    assert "one-of-a-test" in load_plugins().names("renderer")


def test_loading_plugins_imports_no_model_library_and_is_fast() -> None:
    script = (
        "import sys\nfrom threedis_core.cli import main\nfrom threedis_core import load_plugins\n"
        "load_plugins()\n"
        "print(*{'torch', 'diffusers', 'transformers', 'numpy', 'PIL'} & set(sys.modules))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert finished.stdout.strip() == ""
    # Processor time, because the clock on the wall depends on what else the machine does.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
