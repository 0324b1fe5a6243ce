from __future__ import annotations

from threedis_core.plugin.registrations import PluginSource
from threedis_core.run.record.versions import library_versions, with_plugins


def test_versions_name_the_libraries_and_the_plugins() -> None:
    sources = [PluginSource("mine", "3.1"), PluginSource("threedis", "x")]
    versions = with_plugins(library_versions(), sources)
    assert {"threedis", "python", "torch", "numpy", "pillow"} <= set(versions)
    assert versions["mine"] == "3.1"
    assert versions["threedis"] != "x"


def test_libraries_that_are_not_installed_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr("threedis_core.run.record.versions.LIBRARIES", ("no-such-library-at-all",))
    assert set(library_versions()) == {"threedis", "python"}
