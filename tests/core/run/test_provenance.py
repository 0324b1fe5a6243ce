from __future__ import annotations

from pathlib import Path

from PIL import Image

from threedis_core.plugin.registrations import PluginSource
from threedis_core.run.provenance import json_ready, pixel_checksum, software_versions
from threedis_core.testing.fakes import FakeRendererOptions


def test_what_json_does_not_know_becomes_plain() -> None:
    value = {"path": Path("a/b"), "names": frozenset({"y", "x"}), "options": FakeRendererOptions()}
    assert json_ready(value) == {
        "path": "a/b",
        "names": ["x", "y"],
        "options": {"steps": 3, "tint": 0.5, "max_instances": 32},
    }


def test_checksums_tell_pictures_apart() -> None:
    pictures = [
        Image.new("RGB", (2, 3)),
        Image.new("RGB", (3, 2)),
        Image.new("L", (2, 3)),
        Image.new("RGB", (2, 3), (0, 0, 1)),
    ]
    assert len({pixel_checksum(picture) for picture in pictures}) == 4
    assert pixel_checksum(pictures[0]) == pixel_checksum(pictures[0].copy())


def test_versions_name_the_libraries_and_the_plugins() -> None:
    versions = software_versions([PluginSource("mine", "3.1"), PluginSource("threedis", "x")])
    assert {"threedis", "python", "torch", "numpy", "pillow"} <= set(versions)
    assert versions["mine"] == "3.1"
    assert versions["threedis"] != "x"


def test_libraries_that_are_not_installed_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr("threedis_core.run.provenance.LIBRARIES", ("no-such-library-at-all",))
    assert set(software_versions([])) == {"threedis", "python"}
