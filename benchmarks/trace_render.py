"""How one render wanders through our files: is there a way that a reader can follow?

Every function of ours is noted when it is called for the first time, in that order. A return is
a step to a file that was left before. Few returns mean that each file has its one turn.

    python benchmarks/trace_render.py
    python benchmarks/trace_render.py --path     # every step, in order
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType

from threedis_core import Layout

ROOT = Path(__file__).resolve().parents[1]
SCENE = {
    "prompt": "a red sphere and a blue cube on a grey floor",
    "instances": [
        {"prompt": "a red sphere", "label": "sphere", "box": [0.1, 0.4, 0.4, 0.7]},
        {"prompt": "a blue cube", "label": "cube", "box": [0.55, 0.45, 0.9, 0.8]},
    ],
}
OURS = ("threedis_core", "renderers", "depth_models", "plugins")


def main() -> None:
    """Trace one render and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--renderer", default="pocket-flux")
    parser.add_argument("--path", action="store_true", help="print every step, in order")
    chosen = parser.parse_args()
    layout = Layout.from_dict(SCENE)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THREEDIS_CACHE"] = folder
        seen = first_calls(lambda: render(layout, chosen.renderer, Path(folder)))
    files = [file for file, _ in groupby(file_of(code) for code in seen)]
    if chosen.path:
        for file, codes in groupby(seen, key=file_of):
            print(f"{file}: {', '.join(code.co_qualname for code in codes)}")
    print(f"files {len(set(files))}, functions {len(seen)}, returns {returns(files)}")


def render(layout: Layout, renderer: str, folder: Path) -> None:
    """One picture, the depth stage included, into a new folder."""
    import threedis_core as threedis

    threedis.render(layout, renderers=[renderer], out=folder / "run")


def first_calls(work: Callable[[], None]) -> Sequence[CodeType]:
    """Our functions that ``work`` runs, in the order of their first calls."""
    found: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code not in found and is_ours(code):
            found[code] = None

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(found)


def is_ours(code: CodeType) -> bool:
    """True for a function that we wrote; modules' and classes' own bodies are none."""
    try:
        top = Path(code.co_filename).relative_to(ROOT).parts[0]
    except ValueError:
        return False
    return top in OURS and not code.co_name.startswith("<") and bool(code.co_flags & 2)


def file_of(code: CodeType) -> str:
    """The file of a function, from the project's folder."""
    return str(Path(code.co_filename).relative_to(ROOT))


def returns(files: Sequence[str]) -> int:
    """How often the way goes back to a file that it had left."""
    return len(files) - len(set(files))


if __name__ == "__main__":
    main()
