from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from threedis_core.plugin import hookspecs

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-renderer.md"
HOOKS = [
    function
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction)
    if name.startswith("threedis_")
]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)
def test_a_hook_is_documented_with_its_exact_signature(hook) -> None:
    signature = f"{hook.__name__}({', '.join(inspect.signature(hook).parameters)})"
    assert f"`{signature}`" in PAGE.read_text(encoding="utf-8")
    assert hook.__doc__


def test_there_are_hooks() -> None:
    assert len(HOOKS) >= 5
