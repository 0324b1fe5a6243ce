"""The Dockerfile's steps, carried out without Docker: each RUN in a fresh environment.

Some minutes and 1.4 GB; ``make test-container`` runs it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = re.compile(r"--extra-index-url\s+\S+")
"""PyTorch's own package index, which is not needed where pip finds torch elsewhere."""

pytestmark = pytest.mark.skipif(
    "THREEDIS_TEST_CONTAINER" not in os.environ, reason="run it with: make test-container"
)


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments, comments and continued lines resolved."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield name, rest.strip()


class Image:
    """A folder that stands for an image's root, and an environment for its Python."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.work = self.root
        venv.create(folder / "python", with_pip=True)
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        home = folder / "home"
        home.mkdir()
        settings = Path.home() / ".config" / "pip"
        if settings.is_dir():
            shutil.copytree(settings, home / ".config" / "pip")
        self.env = {
            **kept,
            "PATH": f"{folder / 'python' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
        }
        self.done: list[str] = []

    def place(self, path: str) -> Path:
        """Where a path of the image is here."""
        return self.root / path.lstrip("/") if path.startswith("/") else self.work / path

    def here(self, text: str) -> str:
        """A text with the image's own folders put where they are here."""
        return re.sub(
            r"(?<![\w.:/])/(opt|cache|work)\b", lambda found: f"{self.root}{found[0]}", text
        )

    def build(self) -> Mapping[str, list[str]]:
        """Carry out every instruction; what the image runs."""
        runs: dict[str, list[str]] = {}
        for name, rest in instructions():
            self.done.append(name)
            if name in ("ENV", "ARG"):
                pairs = (pair.partition("=") for pair in shlex.split(rest))
                self.env |= {key: self.here(value) for key, is_set, value in pairs if is_set}
            elif name == "WORKDIR":
                self.work = self.place(rest)
                self.work.mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                self.copy(*rest.split())
            elif name == "RUN":
                self.run("bash", "-ec", self.here(INDEX.sub("", rest)))
            elif name in ("ENTRYPOINT", "CMD"):
                runs[name] = json.loads(rest)
            else:
                assert name in ("FROM", "USER", "EXPOSE", "VOLUME"), f"{name} is new here"
        return runs

    def copy(self, source: str, target: str) -> None:
        """Copy tracked files, as a clean checkout has them."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", source],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            to = self.place(target) / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to)

    def run(self, *command: str) -> str:
        """Run a command in the image."""
        finished = subprocess.run(
            command, cwd=self.work, env=self.env, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, (finished.stdout + finished.stderr)[-3000:]
        return finished.stdout


def test_the_steps_of_the_dockerfile_make_an_image_that_renders(tmp_path) -> None:
    image = Image(tmp_path)
    runs = image.build()
    assert image.done.count("RUN") == 3
    assert "render" in image.run(*runs["ENTRYPOINT"], *runs["CMD"])
    (image.work / "layout.yaml").write_text(
        "prompt: a room\ninstances: [{prompt: a red cube, box: [0.2, 0.3, 0.8, 0.9]}]\n"
    )
    printed = image.run(*runs["ENTRYPOINT"], "render", "layout.yaml", "--out", "run")
    assert (image.work / "run" / "pocket-sd15-seed0.png").is_file(), printed
    assert list((image.root / "cache" / "threedis").rglob("*.png")), "no depth map was kept"
    where = image.run(
        "python", "-c", "import threedis_core, uvicorn; print(threedis_core.__file__)"
    )
    assert where.startswith(str(tmp_path / "python")), "it is not what was installed that runs"
    assert sys.prefix not in where
