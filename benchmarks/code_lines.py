"""Count the lines of code of packages: without blank lines, comments and docstrings.

python benchmarks/code_lines.py renderers/threedis_flux renderers/threedis_sd/sdxl.py
"""

from __future__ import annotations

import ast
import sys
import tokenize
from io import StringIO
from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> int:
    """The lines of a Python file that hold code; a string alone, as a docstring is, is none."""
    lines = {
        line
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        for part in node.body if isinstance(node, DOCUMENTED) else ():
            if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                lines -= set(range(part.lineno, (part.end_lineno or part.lineno) + 1))
    return len(lines)


def main(paths: list[str]) -> None:
    """Print the lines of each file, and of all together."""
    files = [
        file
        for path in map(Path, paths)
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    counts = {file: code_lines(file.read_text("utf-8")) for file in files}
    for file, count in counts.items():
        print(f"{count:6} {file}")
    print(f"{sum(counts.values()):6} lines of code in {len(counts)} files")


if __name__ == "__main__":
    main(sys.argv[1:])
