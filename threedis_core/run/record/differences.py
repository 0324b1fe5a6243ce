"""What is now otherwise than it was, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from threedis_core.files.printable import printable

ABSENT = "nothing"
MOST_TOLD = 3


def differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """Where plain data ``before`` and ``now`` differ, in a few words each.

    Args:
        name: What they are called.
        before: Mappings, lists, texts, numbers; None: there was nothing.
        now: Likewise.
    """
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        one, other = cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", now)
        for key in dict.fromkeys([*one, *other]):
            yield from differences(f"{name}.{key}", one.get(key), other.get(key))
        return
    if isinstance(before, list) and isinstance(now, list):
        first, second = cast("list[Any]", before), cast("list[Any]", now)
        if any(isinstance(one, Mapping) for one in first + second):
            if len(first) != len(second):
                yield f"{name} were {len(first)}, now {len(second)}"
                return
            for index, (one, other) in enumerate(zip(first, second, strict=True)):
                yield from differences(f"{name}[{index}]", one, other)
            return
    yield f"{name.removeprefix('config.')} was {shown_value(before)}, now {shown_value(now)}"


def shown_value(value: Any) -> str:
    """A value in a few words, for a line that says what differs."""
    return ABSENT if value is None else printable(json.dumps(value, ensure_ascii=False), 60)


def first_told(found: Sequence[str]) -> str:
    """The first of many differences, and how many more there are."""
    more = len(found) - MOST_TOLD
    return "; ".join(found[:MOST_TOLD]) + (f"; and {more} more" if more > 0 else "")
