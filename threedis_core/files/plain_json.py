"""JSON as plain data: no duplicate keys, no half characters, bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from threedis_core.files.limits import MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_VALUES
from threedis_core.files.printable import printable

# A text, a bracket, or anything else between commas and colons. Without the possessive signs (+
# after * or +) a long text would be taken apart once more from every letter.
TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]|[^\s"\[\]{},:]++', re.DOTALL)


class PlainJsonError(ValueError):
    """The text is JSON of a kind that is not read here."""


class NotJsonError(PlainJsonError):
    """The text is not JSON at all."""


Prune = Callable[[dict[str, Any]], dict[str, Any]]
"""What is kept of an object: called with each as soon as it is read, the innermost first."""


def parse_json(text: str, bounded: bool = True, prune: Prune | None = None) -> Any:
    """Parse one JSON document into dicts, lists, texts, numbers, booleans and None.

    Args:
        text: The document.
        bounded: Refuse more values or levels than a layout or a configuration can need. A data
            set's file has more of them; only the size of the file bounds it.
        prune: What to keep of each object; None: everything. The rest takes no memory.
    Raises:
        PlainJsonError: Not JSON, or of a kind that is refused.
    """
    if bounded:
        _check_bounds(text)

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _mapping(pairs) if prune is None else prune(_mapping(pairs))

    try:
        return json.loads(text, object_pairs_hook=made)
    except json.JSONDecodeError as reason:
        raise NotJsonError(
            f"not JSON: line {reason.lineno}, column {reason.colno}: {reason.msg}"
        ) from None
    except RecursionError:
        raise PlainJsonError("lists or objects are nested too deep") from None
    except PlainJsonError:
        raise
    except ValueError as reason:  # a whole number of too many digits
        raise PlainJsonError(f"not JSON that can be read: {printable(str(reason), 100)}") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = printable(repr(_first_twice(key for key, _ in pairs)), 60)
        raise PlainJsonError(f"the key {twice} appears twice in one object; remove one")
    return result


def _first_twice(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))


def _check_bounds(text: str) -> None:
    """Count values and levels before any is made, and stop at the first too many."""
    values = depth = 0
    for token in TOKEN.finditer(text):
        first = text[token.start()]
        if first in "]}":
            depth -= 1
            continue
        values += 1
        depth += first in "[{"
        if depth > MAX_DOCUMENT_DEPTH:
            problem = f"nested too deep: more than {MAX_DOCUMENT_DEPTH} levels"
        elif values > MAX_DOCUMENT_VALUES:
            problem = (
                f"more than {MAX_DOCUMENT_VALUES} values; expected a layout or a configuration "
                "(of a data set, choose a picture with --image-id)"
            )
        else:
            continue
        line = text.count("\n", 0, token.start()) + 1
        raise PlainJsonError(f"line {line}: {problem}")
