"""Who prints: the commands, through streams, where nothing that does not print gets through."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("threedis_core", "renderers", "depth_models", "plugins/threedis-pocket/threedis_pocket")
COMMANDS = ("threedis_core/cli/",)


def calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    found = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {name for name in found if name in ("print", "typer.echo", "typer.secho", "click.echo")}


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_prints_but_the_command_line(folder: str) -> None:
    printing = {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if not str(path.relative_to(ROOT)).startswith(COMMANDS) and calls(path)
    }
    assert printing == set()


def test_a_commands_file_names_come_out_as_escapes(threedis) -> None:
    command = ("layout", "draw", "scene.yaml", "--out", "a\x1b[31mb.png")
    assert threedis(*command) == (0, "a\\x1b[31mb.png\n", "")
