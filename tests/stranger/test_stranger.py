"""Somebody who has only the built wheel and the documentation: their package passes its suite.

The package of a documentation's page is written, installed beside the wheel in an environment of
its own, and tested there, far from this repository. Libraries are lent from this environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("threedis_core", "renderers", "depth_models")
PAGES = ("writing-a-renderer.md", "writing-a-joint-renderer.md")
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))
}


def run(*command: str | Path, cwd: Path) -> str:
    finished = subprocess.run(
        command, cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"
    return finished.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that has the wheel, and of this one nothing but the libraries."""
    folder = tmp_path_factory.mktemp("stranger")
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    sources = folder / "sources"  # a build leaves things behind that the next one would take in
    for name in SOURCES:
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    run(*build, "--wheel-dir", folder / "wheels", sources, cwd=folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    install(python, next((folder / "wheels").glob("threedis-*.whl")))
    path = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(python, "-c", path, cwd=folder).strip())
    # Named in a .pth file of that environment, ours comes after its own packages, and what of ours
    # is installed for editing is not followed.
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--no-deps", "--no-build-isolation", *what, cwd=python.parent)


@pytest.mark.parametrize("page", PAGES)
def test_the_package_of_a_page_passes_its_suite_beside_the_wheel(
    page: str, python: Path, tmp_path: Path
) -> None:
    for name, code in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")):
        file = tmp_path / "package" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    install(python, tmp_path / "package")
    where = "import threedis_core; print(threedis_core.__file__)"
    assert python.parents[1] in Path(run(python, "-c", where, cwd=tmp_path).strip()).parents
    told = run(
        *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "package" / "tests"),
        cwd=tmp_path,
    )
    assert re.search(r"\d+ passed", told)
