"""The code in the documentation runs.

A block with a title, ``title="path"``, is written to that path. The other Python blocks of a page
are run in order, in one session, in the same folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    language: str
    title: str | None
    code: str


def blocks(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    titles = (TITLE.search(rest) for _, rest, _ in found)
    return [
        Block(language, title[1] if title else None, code)
        for (language, _, code), title in zip(found, titles, strict=True)
    ]


def write_files(page: Path, folder: Path) -> None:
    for block in blocks(page):
        if block.title is not None:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.code)


def install(folder: Path) -> None:
    """Make the package that a page describes visible as if it was installed: its metadata."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"{name} = {module}" for name, module in project["entry-points"]["threedis"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[threedis]", *lines, ""]))


def run_python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_waits_to_be_filled_in(page) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^\W*(?:FIGURES|BENCH)\W*$", text, re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_blocks_of_a_page_run(page, tmp_path) -> None:
    write_files(page, tmp_path)
    if (tmp_path / "pyproject.toml").exists():
        install(tmp_path)
    session = [b.code for b in blocks(page) if b.language == "python" and b.title is None]
    if not session:
        pytest.skip("the page has no Python of its own")
    (tmp_path / "session.py").write_text("\n".join(session))
    finished = run_python(tmp_path, "session.py")
    assert finished.returncode == 0, finished.stderr[-3000:]


@pytest.mark.parametrize("page", ["writing-a-renderer.md", "writing-a-metric.md"])
def test_the_plugin_of_the_docs_passes_its_own_tests(page, tmp_path) -> None:
    write_files(ROOT / "docs" / page, tmp_path)
    if page == "writing-a-metric.md":
        install(tmp_path)  # its tests find it by its name
    finished = run_python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert finished.returncode == 0, finished.stdout[-3000:]


def test_the_page_on_joint_attention_shows_what_new_plugin_writes(tmp_path) -> None:
    page = ROOT / "docs" / "writing-a-joint-renderer.md"
    command = "from threedis_core.cli import main; main()"
    finished = run_python(tmp_path, "-c", command, "new-plugin", "sd3", "--kind", "joint")
    assert finished.returncode == 0, finished.stderr
    written = tmp_path / "threedis-sd3"
    shown = {block.title: block.code for block in blocks(page) if block.title is not None}
    assert {str(file.relative_to(written)) for file in written.rglob("*.*")} - set(shown) == {
        "README.md"
    }
    for name, code in shown.items():
        assert (written / name).read_text() == code, name


def test_the_renderer_of_the_docs_is_listed_and_renders(tmp_path) -> None:
    write_files(ROOT / "docs" / "writing-a-renderer.md", tmp_path)
    install(tmp_path)
    (tmp_path / "scene.yaml").write_text(
        "prompt: a scene\ninstances: [{prompt: a red cube, box: [0.2, 0.2, 0.8, 0.8]}]\n"
    )
    from threedis_core import Layout
    from threedis_core.testing import sample_depth

    sample_depth(Layout.load(tmp_path / "scene.yaml"), 96, 64).save(tmp_path / "depth.png")
    command = "from threedis_core.cli import main; main()"
    listed = run_python(tmp_path, "-c", command, "plugins")
    assert "Coloured pencils  [threedis-sketch 1.0]" in listed.stdout
    rendered = run_python(
        tmp_path,
        *("-c", command, "render", "scene.yaml", "--depth", "depth.png"),
        *("--renderer", "sketch", "--set", "spacing=4", "--out", "run"),
    )
    assert rendered.returncode == 0, rendered.stderr
    assert rendered.stdout == "run/sketch-seed0.png\nrun/sheet.png\n"


SHELL_SESSION = """
import glob, shlex, sys
from threedis_core.cli import main

for line in open("commands.txt"):
    words = shlex.split(line, comments=True)[1:]
    try:
        main([file for word in words for file in (sorted(glob.glob(word)) or [word])])
    except SystemExit as end:
        if end.code:
            sys.exit(f"{line.strip()} ended with {end.code}")
"""


def shell_commands(page: Path) -> list[str]:
    code = "\n".join(b.code for b in blocks(page) if b.language in ("sh", "bash"))
    return [line for line in code.replace("\\\n", " ").splitlines() if line.startswith("threedis ")]


def make_what_the_commands_name(folder: Path) -> None:
    """A depth picture, and a small real model where the pages say that a large one lies."""
    from threedis_core import Layout
    from threedis_core.testing import sample_depth
    from threedis_pocket import WEIGHTS

    sample_depth(Layout.load(folder / "layout.yaml"), 128, 128).save(folder / "depth.png")
    model = folder / "path" / "to" / "stable-diffusion-v1-5"
    model.parent.mkdir(parents=True)
    model.symlink_to(WEIGHTS / "pocket-sd15")
    (model.parent / "control_v11f1p_sd15_depth").symlink_to(model / "controlnet")


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/run-config.md"])
def test_the_commands_a_newcomer_types_run(page, tmp_path) -> None:
    write_files(ROOT / "README.md", tmp_path)  # the layout that the other pages go on with
    write_files(ROOT / page, tmp_path)
    make_what_the_commands_name(tmp_path)
    commands = shell_commands(ROOT / page)
    assert len(commands) >= 3
    (tmp_path / "commands.txt").write_text("\n".join(commands))
    finished = run_python(tmp_path, "-c", SHELL_SESSION)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert len(list(tmp_path.glob("runs/*/*-seed*.png"))) >= 3


def run_commands(folder: Path, commands: list[str]) -> str:
    (folder / "commands.txt").write_text("\n".join(commands))
    finished = run_python(folder, "-c", SHELL_SESSION)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout


def test_the_tutorial_of_comparisons_leads_to_its_table_and_to_that_of_another_system(
    tmp_path,
) -> None:
    page = ROOT / "docs" / "compare-tutorial.md"
    write_files(page, tmp_path)
    *own, theirs = shell_commands(page)
    assert len(own) == 4
    told = run_commands(tmp_path, own)
    assert "pictures of pocket-sd15@off  16, 0 there" in told
    run = tmp_path / "runs" / "compare"
    summary = json.loads((run / "summary.json").read_text())
    tested = [f["difference"] for f in summary["figures"] if not f["exploratory"]]
    assert [d["verdict"] for d in tested if d and d["p"] is not None] == ["better"]
    for name in ("table.md", "table.tex", "results.csv", "report.html"):
        assert (run / name).stat().st_size > 0
    (tmp_path / "theirs").mkdir()
    for job in json.loads((run / "plan.json").read_text())["jobs"]:
        if job["system"] == "pocket-sd15" and job["seed"] == 0:
            picture = run / "pictures" / f"{job['key']}.png"
            shutil.copy(picture, tmp_path / "theirs" / f"{job['layout']}.png")
    run_commands(tmp_path, [theirs])
    assert "| my-method |" in (tmp_path / "runs" / "theirs" / "table.md").read_text()
    assert "my-method" in (tmp_path / "runs" / "theirs" / "report.html").read_text()
