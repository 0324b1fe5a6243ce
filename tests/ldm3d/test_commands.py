"""``threedis convert layout-adapter``, as the plugin adds it."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from safetensors.torch import load_file
from typer.testing import CliRunner

import threedis_ldm3d
from threedis_core.errors import WeightsError

FILE = Path(__file__).parents[1] / "golden" / "adapter.safetensors"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    threedis_ldm3d.threedis_register_commands(app, typer.Typer())
    return app


def test_convert_writes_and_says_what(app: typer.Typer, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    result = CliRunner().invoke(app, ["convert", "layout-adapter", str(FILE), str(target)])
    assert (result.exit_code, result.output) == (0, f"{target}: 78 weights\n")
    assert load_file(target).keys() == load_file(FILE).keys()


def test_convert_fails_with_what_is_wrong(app: typer.Typer, tmp_path: Path) -> None:
    arguments = ["convert", "layout-adapter", "none.ckpt", str(tmp_path / "out.safetensors")]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, WeightsError)
