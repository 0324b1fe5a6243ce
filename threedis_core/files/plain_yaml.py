"""YAML without its dangerous parts: no aliases, anchors or tags, no duplicate keys, bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from threedis_core.files.limits import (
    MAX_DOCUMENT_DEPTH,
    MAX_DOCUMENT_VALUES,
    MAX_NUMBER_LETTERS,
)
from threedis_core.files.printable import printable

# Dates, merge keys and the like stay text; a prompt may well be "2020-01-01".
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
NUMBER_LETTERS = re.compile(r"[-+.0-9][-+.:_0-9a-fA-FxX]*+")


# The parser written in C is ten times faster; not every build of PyYAML has it.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_FastLoader):
    """Reads plain scalars as we want them."""


class _Dumper(yaml.SafeDumper):
    """Quotes every text that our loader would not read as text."""


_sides: tuple[Any, Any] = (_Loader, _Dumper)
for _side in _sides:
    # YAML 1.1 reads 1e-3 as text, because it has no dot; everybody means a number.
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


class PlainYamlError(ValueError):
    """The text is not YAML of the plain kind that is read here."""


def parse_yaml(text: str) -> Any:
    """Parse one YAML document into dicts, lists, texts, numbers, booleans and None.

    Raises:
        PlainYamlError: Not YAML, or of a kind that is refused; the message names the line.
    """
    reader = _Reader(text)
    reader.start()
    value = reader.value(reader.next(), 0)
    reader.finish()
    return value


def iterate_yaml(text: str) -> Iterator[tuple[Any, Any]]:
    """Yield the top-level entries of a YAML mapping, one (key, value) at a time.

    Raises:
        PlainYamlError: As ``parse_yaml``, or the document is no mapping.
    """
    reader = _Reader(text)
    reader.start()
    event = reader.next()
    if not isinstance(event, yaml.MappingStartEvent):
        raise reader.problem(event, "expected a mapping (key: value) at the top level")
    yield from reader.entries(event, 0)
    reader.finish()


def dump_yaml(data: Any) -> str:
    """Write plain data as YAML that ``parse_yaml`` reads back, in the order it comes."""
    return yaml.dump(  # pyright: ignore[reportUnknownMemberType]
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
    )


class _Reader:
    """Builds plain values from the parser's events, which come one by one."""

    def __init__(self, text: str) -> None:
        self._values = 0
        try:
            self._loader: Any = _Loader(text)
        except UnicodeEncodeError:  # half a character, as in an argument that is not UTF-8
            raise PlainYamlError(f"{_short(text)} is not UTF-8; expected text") from None
        except yaml.YAMLError as error:
            raise PlainYamlError(f"not YAML: {_reason(error)}") from None

    def next(self) -> Any:
        try:
            return self._loader.get_event()
        except (yaml.YAMLError, ValueError) as error:
            raise PlainYamlError(f"not YAML: {_reason(error)}") from None

    def start(self) -> None:
        self.next()
        if not isinstance(self.next(), yaml.DocumentStartEvent):
            raise PlainYamlError("there is nothing in it")

    def finish(self) -> None:
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.problem(event, "a second document starts; expected one")

    def problem(self, event: Any, message: str) -> PlainYamlError:
        return PlainYamlError(f"line {event.start_mark.line + 1}: {message}")

    def value(self, event: Any, depth: int) -> Any:
        self._check(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.MappingStartEvent):
            return dict(self.entries(event, depth))
        items: list[Any] = []
        while not isinstance(item := self.next(), yaml.SequenceEndEvent):
            items.append(self.value(item, depth + 1))
        return items

    def entries(self, start: Any, depth: int) -> Iterator[tuple[Any, Any]]:
        self._check(start, depth)
        seen: set[Any] = set()
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.problem(event, "a key is a list or mapping; expected text")
            key = self.value(event, depth + 1)
            if key in seen:
                raise self.problem(event, f"the key {_short(key)} appears twice; remove one")
            seen.add(key)
            yield key, self.value(self.next(), depth + 1)

    def _check(self, event: Any, depth: int) -> None:
        self._values += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise self.problem(event, "anchors (&) and aliases (*) are not read; write it out")
        if event.tag is not None:
            raise self.problem(event, f"the tag {_short(event.tag)} is not read; remove it")
        if depth > MAX_DOCUMENT_DEPTH:
            raise self.problem(event, f"nested deeper than {MAX_DOCUMENT_DEPTH} levels")
        if self._values > MAX_DOCUMENT_VALUES:
            raise self.problem(event, f"more than {MAX_DOCUMENT_VALUES} values; split the file")

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if len(text) > MAX_NUMBER_LETTERS:
            # The patterns that tell numbers from texts would take a gigabyte.
            if event.implicit[0] and NUMBER_LETTERS.fullmatch(text):
                raise self.problem(event, f"{_short(text)} is no number that can be read")
            return text
        tag = self._loader.resolve(yaml.ScalarNode, text, event.implicit)
        if tag not in PLAIN_TAGS:
            return text
        try:
            return self._loader.construct_object(yaml.ScalarNode(tag, text))
        except (ValueError, OverflowError):
            raise self.problem(event, f"{_short(text)} is no number that can be read") from None


def _short(value: Any) -> str:
    return printable(repr(value), 60)


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return where + printable(" ".join(problem.split()), 200)
