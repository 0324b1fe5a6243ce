"""Plugins installed for one test (a module and its metadata on the path), and a command line."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

from threedis_core.cli import main
from threedis_core.cli.streams import NOTE
from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.testing import sample_depth, sample_layout

FAKES = """
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_renderers(register):
        register("fake", "threedis_core.testing.fakes:FakeRenderer", "No model at all")
        register("fake2", "threedis_core.testing.fakes:FakeRenderer", "The same again")

    @hookimpl
    def threedis_register_depth_models(register):
        register("fake-depth", "threedis_core.testing.fakes:FakeDepthModel", "Planes")

    @hookimpl
    def threedis_register_presets(register):
        register("pale", "fake", {"tint": 0.6}, "Hardly tinted")
"""
CORE = "from threedis_core.refiners import threedis_register_region_refiners"


class PluginFolder:
    """A site folder of its own that plugins are installed into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, name: str, source: str, version: str = "1.0", module: str = "") -> str:
        """Install distribution ``name`` with one module; return the module's name."""
        module = module or name.replace("-", "_")
        (self.path / f"{module}.py").write_text(textwrap.dedent(source))
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[threedis]\n{name} = {module}\n")
        return module

    def load(self) -> PluginRegistry:
        """Load the plugins of this folder and no others."""
        return load_plugins(distributions(path=[str(self.path)]))


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginFolder]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield PluginFolder(folder)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def registry(plugins: PluginFolder) -> PluginRegistry:
    """The built-in refiner, two fake renderers, a preset and a fake depth model."""
    plugins.install("threedis-fakes", FAKES)
    plugins.install("core-refiners", CORE)
    loaded = plugins.load()
    assert not loaded.failures
    return loaded


@pytest.fixture
def fakes_source() -> str:
    return FAKES


class CommandLine:
    """Runs ``threedis`` in a folder with a layout, a depth map and the fake plugins.

    ``notes`` are the lines on stderr that say how the last command's work went; what a call gives
    are the others.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.notes: list[str] = []

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        captured = self._capsys.readouterr()
        lines = captured.err.splitlines(keepends=True)
        self.notes = [line.rstrip() for line in lines if line.startswith(NOTE)]
        others = "".join(line for line in lines if not line.startswith(NOTE))
        return int(exit_.value.code or 0), captured.out, others

    def fails(self, *arguments: str, code: int = 2) -> str:
        """The one line on stderr of a command that must fail."""
        found, out, err = self(*arguments)
        assert (found, out) == (code, ""), err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err.strip()


@pytest.fixture
def threedis(registry, plugins, tmp_path, monkeypatch, capsys) -> CommandLine:
    monkeypatch.setattr("threedis_core.cli.app.load_plugins", plugins.load)
    monkeypatch.chdir(tmp_path)
    layout = sample_layout(2)
    layout.save("scene.yaml")
    sample_depth(layout, 64, 64).save("depth.png")
    return CommandLine(tmp_path, capsys)
