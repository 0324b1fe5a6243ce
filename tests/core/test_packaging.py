"""What an installed ThreeDIS brings along, and what it must not."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT / "pyproject.toml", ROOT / "plugins" / "threedis-pocket" / "pyproject.toml"]


def installed(name: str) -> bool:
    try:
        return bool(distribution(name).files)
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(not installed("threedis"), reason="threedis is on the path, not installed")
@pytest.mark.parametrize(
    "module", ["tests", "plugins", "renderers", "depth_models", "docs", "benchmarks"]
)
def test_an_installation_does_not_make_our_folders_importable(module: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import {module}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"No module named '{module}'" in run.stderr


@pytest.mark.parametrize("project", PROJECTS, ids=["threedis", "threedis-pocket"])
def test_every_package_on_disk_is_in_the_distribution(project: Path) -> None:
    tool = tomllib.loads(project.read_text())["tool"]["setuptools"]
    folders = tool.get("package-dir", {})
    listed = set(tool["packages"])
    for top in {name.split(".")[0] for name in listed}:
        home = project.parent / folders.get(top, top)
        on_disk = {
            ".".join((top, *init.parent.relative_to(home).parts))
            for init in home.rglob("__init__.py")
        }
        assert on_disk == {name for name in listed if name.split(".")[0] == top}


def test_both_projects_have_the_same_version() -> None:
    versions = {tomllib.loads(p.read_text())["project"]["version"] for p in PROJECTS}
    assert len(versions) == 1
