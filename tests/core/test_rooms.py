"""The folders are the architecture: what may import what, and that a listing stays readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = {
    "threedis_core": ROOT,
    **{folder.name: folder.parent for folder in (ROOT / "renderers").glob("threedis_*")},
    **{folder.name: folder.parent for folder in (ROOT / "depth_models").glob("threedis_*")},
    "threedis_pocket": ROOT / "plugins" / "threedis-pocket",
}
FLOORS = (
    {"errors", "version", "suggest", "alone", "cache_home"},
    {"files"},
    {"values"},
    {"formats", "attention", "drawing", "plugin"},
    {"refiners", "machine", "metrics"},
    {"presence"},
    {"run"},
    {"compare"},
    {"doctor", "setup", "testing"},
    {"cli"},
)
"""The rooms of the core from the ground up; each imports from its own floor or lower ones."""
LIBRARIES = {"threedis_core", "threedis_diffusers", "threedis_transformers", "threedis_train"}
NEIGHBOURS = {("threedis_pocket", "threedis_ldm3d")}
"""pocket-depth is ldm3d with small weights, in a subclass."""
MOST_FILES = 12


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found: dict[str, Path] = {}
    for top, home in HOMES.items():
        for path in (home / top).rglob("*.py"):
            parts = path.relative_to(home).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of ours that ``module`` imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in modules()} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found & modules().keys())


def room(module: str) -> str:
    """The room of a module of the core: the first part of its name inside it."""
    return module.split(".")[1] if "." in module else ""


def pairs() -> Iterator[tuple[str, str]]:
    return ((module, other) for module in modules() for other in imports(module))


def test_no_room_of_the_core_imports_from_a_higher_one() -> None:
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    inside = [pair for pair in pairs() if all(m.startswith("threedis_core.") for m in pair)]
    assert {room(module) for module, _ in inside} <= floor.keys()
    upwards = [(a, b) for a, b in inside if floor[room(b)] > floor[room(a)]]
    assert not upwards


def test_rooms_on_one_floor_do_not_import_each_other() -> None:
    def beside(one: str, other: str) -> bool:
        together = any({one, other} <= floor for floor in FLOORS[1:])
        return one != other and together

    core = [pair for pair in pairs() if all(m.startswith("threedis_core.") for m in pair)]
    assert not [(a, b) for a, b in core if beside(room(a), room(b))]


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way, module))
        if module not in done:
            for other in imports(module):
                follow(other, (*way, module))
            done.add(module)

    for module in modules():
        # The core's public names are imported when they are first used.
        if module != "threedis_core":
            follow(module, ("threedis_core",) if module == "threedis_core" else ())


def test_a_plugin_imports_libraries_and_no_other_plugin() -> None:
    across = {(a.split(".")[0], b.split(".")[0]) for a, b in pairs()}
    assert not {(a, b) for a, b in across if a != b and b not in LIBRARIES} - NEIGHBOURS


@pytest.mark.parametrize("library", sorted(LIBRARIES - {"threedis_core"}))
def test_the_core_imports_no_other_package(library: str) -> None:
    assert not [b for a, b in pairs() if a.startswith("threedis_core") and b.startswith(library)]


def test_no_folder_is_a_long_corridor() -> None:
    folders = {path.parent for name, path in modules().items() if name.startswith("threedis_core")}
    counts = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert max(counts.values()) <= MOST_FILES, counts
