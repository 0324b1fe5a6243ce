"""``table.md`` and ``table.tex``: the tables of a paper in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from threedis_core.compare.tables.paper import PaperTable, Summary, notes, paper_tables
from threedis_core.files.printable import printable

_TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"$<$",
    ">": r"$>$",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "–": "--",
}


def markdown(summary: Summary) -> str:
    """All tables in GitHub's Markdown, the best value of each column in bold."""
    parts = [_markdown_table(table) for table in paper_tables(summary)]
    return "\n".join([*parts, *(f"- {_plain(note)}" for note in notes(summary)), ""])


def latex(summary: Summary) -> str:
    r"""All tables for LaTeX with the package booktabs, ready for ``\input``."""
    parts = [_latex_table(table) for table in paper_tables(summary)]
    lines = (f"% {_plain(note)}" for note in notes(summary))
    return "\n".join([r"% \usepackage{booktabs}", *lines, "", *parts])


def _markdown_table(table: PaperTable) -> str:
    lines = [f"**{_plain(table.caption)}**", ""]
    lines.append(_markdown_row(table.head))
    lines.append("|" + "---|" + "---:|" * (len(table.head) - 1))
    for number, row in enumerate(table.rows):
        cells = [
            f"**{cell}**" if (number, column) in table.best else cell
            for column, cell in enumerate(row)
        ]
        lines.append(_markdown_row(cells))
    return "\n".join([*lines, ""])


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in cells) + " |"


def _latex_table(table: PaperTable) -> str:
    return "\n".join(_latex_lines(table)) + "\n"


def _latex_lines(table: PaperTable) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering"
    yield f"\\caption{{{_escaped(table.caption)}}}"
    yield f"\\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}"
    yield r"\toprule"
    yield " & ".join(map(_escaped, table.head)) + r" \\"
    yield r"\midrule"
    for number, row in enumerate(table.rows):
        cells = (
            f"\\textbf{{{_escaped(cell)}}}" if (number, column) in table.best else _escaped(cell)
            for column, cell in enumerate(row)
        )
        yield " & ".join(cells) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _escaped(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in _plain(text))


def _plain(text: str) -> str:
    return printable(text, 2000)
