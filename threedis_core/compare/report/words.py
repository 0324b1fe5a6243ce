"""Numbers and foreign texts as a reader of the page sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from threedis_core.compare.report.page import Difference, Figure, Value

MINUS = "−"
NONE = "–"
_ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\uffff\ud800-\udfff]"
)
"""Letters that do something instead of being seen: control characters, marks that turn the writing
direction, halves of characters. Joiners stay, since some scripts and emoji need them."""
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def legible(text: Any, limit: int = 2000) -> str:
    r"""A foreign text, what acts in it written as an escape: ``\x1b``, ``\u202e``; cut if long."""
    plain = _ACTING.sub(_escape, str(text))
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def amount(value: float | None, figure: Figure) -> str:
    """A figure's value without its unit: shares times 100 with one decimal."""
    if value is None:
        return NONE
    scaled = value * 100 if figure.unit == "%" else value
    return _minus(f"{scaled:.{_decimals(figure)}f}")


def difference(value: float | None, figure: Figure) -> str:
    """A difference with its sign, without a unit."""
    text = amount(value, figure)
    return f"+{text}" if value is not None and value > 0 else text


def span(low: float | None, high: float | None, figure: Figure) -> str:
    """An interval: "58.1 to 67.4"; "" if there is none."""
    if low is None or high is None:
        return ""
    return f"{amount(low, figure)} to {amount(high, figure)}"


def unit_of_difference(figure: Figure) -> str:
    """What a difference of shares is counted in: percentage points."""
    return "points" if figure.unit == "%" else figure.unit


def probability(p: float | None) -> str:
    """A p-value: "p = 0.013", "p < 0.001"; "" for none."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def verdict(found: Difference | None, figure: Figure) -> str:
    """What a difference says, in words; never that two systems are equal."""
    if found is None:
        return ""
    if found.verdict:
        return found.verdict.replace("_", " ")
    if found.low is None or found.high is None or found.low <= 0 <= found.high:
        return "not distinguished"
    return "better" if (found.value > 0) == (figure.better == "higher") else "worse"


def seconds(value: float | None) -> str:
    """A duration: "0.41 s", "12 s", "3 min 20 s"."""
    if value is None:
        return NONE
    if value < 0.005:
        return "< 0.01 s"
    if value < 60:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def memory(count: float | None) -> str:
    """An amount of memory: "3.2 GiB"."""
    if count is None:
        return NONE
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), (1, "bytes"))
    return f"{count / size:.3g} {unit}"


def plain(value: Value) -> str:
    """Anything that a metric says of an instance or a picture."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return legible(value) if isinstance(value, str) else _minus(f"{value:.3g}")


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1] if names else "")))


def counted(count: int, one: str, many: str = "") -> str:
    """ "1 picture", "3,200 pictures"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _decimals(figure: Figure) -> int:
    return 1 if figure.unit == "%" else 2


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
