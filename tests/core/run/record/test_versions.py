from __future__ import annotations

from threedis_core.plugin.registrations import PluginSource
from threedis_core.run.record.versions import versions_with


def test_versions_name_the_libraries_and_the_plugins() -> None:
    sources = [PluginSource("mine", "3.1"), PluginSource("threedis", "x")]
    versions = versions_with(sources)
    assert {"threedis", "python", "torch", "numpy", "pillow"} <= set(versions)
    assert versions["mine"] == "3.1"
    assert versions["threedis"] != "x"


def test_libraries_that_are_not_installed_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr("threedis_core.run.record.versions.LIBRARIES", ("no-such-library-at-all",))
    assert set(versions_with([])) == {"threedis", "python"}
