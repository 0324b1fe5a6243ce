"""Depth maps are made once and found again; a cache that fails stops nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from threedis_core import DepthMap, Layout, render
from threedis_core.errors import DepthError
from threedis_core.plugin.hookspecs import hookimpl
from threedis_core.plugin.interfaces import BackendOptions, DepthRequest
from threedis_core.plugin.registrations import PluginSource
from threedis_core.plugin.registry import PluginRegistry
from threedis_core.run.config import Choice
from threedis_core.run.result import Run
from threedis_core.run.stages.depth_cache import DepthCache, depth_key
from threedis_core.testing import FakeDepthModel, sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 32, 24)
VERSIONS = {"threedis": "1.0"}


class Weighty(FakeDepthModel):
    """Counts how often it works."""

    calls: ClassVar[list[DepthRequest]] = []

    def generate(self, requests, progress=lambda *step: None) -> list[DepthMap]:
        self.calls.extend(requests)
        return super().generate(requests, progress)


class Plugin:
    @hookimpl
    def threedis_register_depth_models(self, register) -> None:
        register("weighty", f"{__name__}:Weighty")


@pytest.fixture
def made(registry: PluginRegistry) -> list[DepthRequest]:
    """What the depth model was asked for."""
    registry.add(Plugin(), PluginSource("weighty", "1.0"))
    Weighty.calls.clear()
    return Weighty.calls


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DepthCache:
    monkeypatch.setenv("THREEDIS_CACHE", str(tmp_path / "cache"))
    return DepthCache.default()


def run(registry: PluginRegistry, layout: Layout = LAYOUT, **changes) -> Run:
    given = {"depth_model": "weighty", "renderers": ["fake"], "registry": registry}
    return render(layout, **{**given, **changes})


def test_a_map_is_made_once_and_reused_by_every_run(registry, made, cache) -> None:
    first = run(registry)
    again = run(registry, renderers=["fake2"], seeds=[4, 5])
    assert len(made) == 1
    assert np.array_equal(first.depth.values, again.depth.values)
    assert (first.record["depth"]["cached"], again.record["depth"]["cached"]) == (False, True)
    assert first.warnings == again.warnings == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": sample_layout(3)},
        {"layout": LAYOUT.model_copy(update={"prompt": "another"})},
        {"depth_seed": 1},
        {"width": 96, "height": 64},
        {"depth_model": Choice(name="weighty", options={"noise": 0.2})},
        {"depth_model": "fake-depth"},
    ],
)
def test_what_goes_into_a_map_makes_another_one(registry, made, cache, changes) -> None:
    run(registry)
    assert run(registry, **changes).record["depth"]["cached"] is False


def test_a_layouts_id_makes_no_difference(registry, made, cache) -> None:
    run(registry)
    run(registry, layout=LAYOUT.model_copy(update={"id": "scene-7"}))
    assert len(made) == 1


def test_without_the_cache_nothing_is_read_or_kept(registry, made, cache) -> None:
    run(registry, depth_cache=False)
    assert not cache.folder.exists()
    run(registry)
    run(registry, depth_cache=False)
    assert len(made) == 3


def test_a_given_map_is_not_kept(registry, cache) -> None:
    record = run(registry, depth_model=None, depth=DEPTH).record
    assert "cached" not in record["depth"]
    assert not cache.folder.exists()


@pytest.mark.parametrize("harm", ["cut", "other map", "no checksum"])
def test_a_damaged_map_is_made_again_and_said(registry, made, cache, harm) -> None:
    first = run(registry)
    (file,) = cache.folder.iterdir()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif harm == "other map":
        DEPTH.save(file, {"threedis-checksum": first.depth.checksum()})
    else:
        first.depth.save(file)
    again = run(registry)
    assert len(made) == 2
    assert np.array_equal(first.depth.values, again.depth.values)
    (warning,) = again.warnings
    assert "cannot be used and is made again" in warning
    assert str(file) in warning
    assert run(registry).warnings == ()


def test_a_cache_that_cannot_be_written_is_said(registry, made, cache) -> None:
    cache.folder.parent.write_text("a file in the way")
    (warning,) = run(registry).warnings
    assert "not kept for the next run" in warning


SIZE = (DEPTH.width, DEPTH.height)


def test_what_is_stored_comes_back_exact_to_16_bits(tmp_path) -> None:
    cache = DepthCache(tmp_path / "new" / "folder")
    assert cache.load("key", SIZE) is None
    cache.store("key", DEPTH.rounded())
    found = cache.load("key", SIZE)
    assert np.array_equal(found.values, DEPTH.rounded().values)
    assert np.abs(found.values - DEPTH.values).max() <= 0.5 / 65535 + 1e-7
    assert [file.name for file in cache.folder.iterdir()] == ["key.png"]


def test_a_map_of_other_values_is_not_believed(tmp_path) -> None:
    cache = DepthCache(tmp_path)
    DEPTH.save(cache.file("key"), {"threedis-depth": f"key {'0' * 64}"})
    with pytest.raises(DepthError, match="not the map that was stored under this name"):
        cache.load("key", SIZE)


def test_a_map_that_was_copied_to_another_key_is_not_believed(tmp_path) -> None:
    cache = DepthCache(tmp_path)
    cache.store("one", DEPTH.rounded())
    shutil.copy(cache.file("one"), cache.file("two"))
    with pytest.raises(DepthError, match="not the map that was stored under this name"):
        cache.load("two", SIZE)


def test_a_map_of_another_size_is_not_believed(tmp_path) -> None:
    cache = DepthCache(tmp_path)
    cache.store("key", DEPTH.rounded())
    with pytest.raises(DepthError, match=rf"{SIZE[0]} x {SIZE[1]} pixels; expected 8 x 8"):
        cache.load("key", (8, 8))


def test_a_run_makes_again_what_another_run_left_under_its_key(registry, made, cache) -> None:
    first = run(registry)
    (file,) = cache.folder.iterdir()
    other = run(registry, depth_seed=1)
    (other_file,) = set(cache.folder.iterdir()) - {file}
    shutil.copy(other_file, file)
    again = run(registry)
    assert np.array_equal(again.depth.values, first.depth.values)
    assert not np.array_equal(other.depth.values, first.depth.values)
    assert "cannot be used and is made again" in again.warnings[0]


def test_without_a_home_a_run_goes_on_without_the_cache(registry, made, monkeypatch) -> None:
    for name in ("THREEDIS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", raise_no_home)
    done = run(registry)
    assert len(done.images) == 1
    assert all("set THREEDIS_CACHE" in line for line in done.warnings)


def raise_no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


class FileOptions(BackendOptions):
    """Options that name files."""

    model: str = ""
    parts: tuple[dict[str, str], ...] = ()


def key(options: BackendOptions, versions: dict[str, str] = VERSIONS) -> str:
    return depth_key("name", options, DepthRequest(LAYOUT, 0, 64, 64), versions)


def test_other_versions_give_another_key() -> None:
    assert key(FileOptions()) != key(FileOptions(), {"threedis": "1.1"})


@pytest.mark.parametrize("nested", [False, True])
def test_weights_that_changed_give_another_key(tmp_path, nested) -> None:
    weights = tmp_path / "model" / "unet" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"old")
    folder = str(tmp_path / "model")
    options = FileOptions(parts=({"path": folder},)) if nested else FileOptions(model=folder)
    before = key(options)
    assert key(options) == before
    os.utime(weights, ns=(1, 1))
    assert key(options) != before


def test_an_empty_option_does_not_name_the_working_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = key(FileOptions())
    (tmp_path / "new").write_bytes(b"something")
    assert key(FileOptions()) == before


def test_the_folder_is_the_users_own(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("THREEDIS_CACHE", "/mine")
    assert DepthCache.default().folder == Path("/mine/depth")
    monkeypatch.delenv("THREEDIS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert DepthCache.default().folder == Path("/shared/threedis/depth")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert DepthCache.default().folder == tmp_path / ".cache" / "threedis" / "depth"
