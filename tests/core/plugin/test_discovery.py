"""Metadata that is broken is one listed failure, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from threedis_core.plugin.discovery import load_plugins
from threedis_core.plugin.registry import PluginRegistry

PLUGIN = """
    from threedis_core.plugin.hookspecs import hookimpl

    @hookimpl
    def threedis_register_renderers(register):
        register("{name}", "threedis_core.testing.fakes:FakeRenderer")
"""
POINTS = b"[threedis]\nbad = works\n"
METADATA = b"Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n"


def names(registry: PluginRegistry) -> tuple[str, ...]:
    return registry.names("renderer")


@pytest.mark.parametrize(
    "files",
    [
        {"entry_points.txt": POINTS},
        {"entry_points.txt": POINTS, "METADATA": b""},
        {"entry_points.txt": POINTS, "METADATA": b"Metadata-Version: 2.1\nVersion: 1.0\n"},
        {"entry_points.txt": POINTS, "METADATA": b"Metadata-Version: 2.1\nName: bad\n"},
        {"entry_points.txt": POINTS, "METADATA": b"\xff\xfe\x00Name: bad"},
        {"entry_points.txt": b"[threedis]\nno equals sign\n", "METADATA": METADATA},
        {"entry_points.txt": b"\xff\xfe\x00[threedis]", "METADATA": METADATA},
    ],
)
def test_broken_metadata_is_one_failure_and_stops_nothing_else(plugins, files) -> None:
    plugins.install("works", PLUGIN.format(name="one"))
    folder = plugins.path / "bad-1.0.dist-info"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    registry = plugins.load()
    assert names(registry) == ("one",)
    (failure,) = registry.failures
    assert str(failure.source) == "bad-1.0.dist-info"
    assert failure.reason.startswith("its metadata cannot be read: ")


def test_broken_metadata_of_what_is_no_plugin_is_no_concern(plugins) -> None:
    folder = plugins.path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "entry_points.txt").write_text("[console_scripts]\nno equals sign\n")
    (plugins.path / "empty-1.0.dist-info").mkdir()
    assert plugins.load().failures == ()


def test_a_name_with_a_dangling_link_as_metadata_stops_nothing(plugins) -> None:
    plugins.install("works", PLUGIN.format(name="one"))
    (plugins.path / "lost-1.0.dist-info").symlink_to("nowhere")
    assert names(plugins.load()) == ("one",)


def test_a_distribution_that_is_there_twice_counts_once(plugins, tmp_path, monkeypatch) -> None:
    plugins.install("same-plugin", PLUGIN.format(name="one-of-two"))
    second = type(plugins)(tmp_path / "second")
    second.path.mkdir()
    second.install("Same_Plugin", PLUGIN.format(name="one-of-two"), version="2.0")
    monkeypatch.syspath_prepend(str(second.path))
    registry = load_plugins()
    assert registry.source_of("one-of-two").version == "2.0"
    assert not [one for one in registry.failures if "one-of-two" in one.reason]


def test_an_entry_point_that_is_no_module_is_a_failure(plugins) -> None:
    plugins.install("odd", "")
    points: Path = plugins.path / "odd-1.0.dist-info" / "entry_points.txt"
    points.write_text("[threedis]\nodd = !!! not a module\n")
    (failure,) = plugins.load().failures
    assert "cannot be imported" in failure.reason
