"""Read JSON and YAML that a person wrote: bounded, plain data only, one clear line if it fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from threedis_core.errors import InputError, LayoutError
from threedis_core.files.limits import MAX_DOCUMENT_BYTES
from threedis_core.files.pictures import check_file
from threedis_core.files.plain_json import NotJsonError, PlainJsonError, Prune, parse_json
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml
from threedis_core.files.printable import printable

BINARY_STARTS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"RIFF": "a WebP picture",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF document",
}


def read_document(
    path: str | Path,
    error: type[InputError] = LayoutError,
    max_bytes: int = MAX_DOCUMENT_BYTES,
    prune: Prune | None = None,
) -> Any:
    """Read a JSON or YAML file: dicts, lists, texts, numbers, booleans and None.

    The suffix says which of the two it is; with any other suffix, a file that starts with ``{``
    or ``[`` and parses as JSON is JSON, everything else YAML.

    Args:
        path: The file.
        error: The error class to raise.
        max_bytes: The largest file that is read. Above the size of a layout file it is a data
            set's: then JSON may hold any number of values.
        prune: What to keep of each JSON object as it is read; None: everything.
    Raises:
        InputError: As ``error``: missing, too large, not text, not JSON or YAML, a duplicate key,
            more than 200,000 values or 32 levels, half a character, or YAML with anchors, aliases
            or tags.
    """
    text = read_text(path, error, max_bytes)
    bounded = max_bytes <= MAX_DOCUMENT_BYTES
    try:
        document = _parse(text, Path(path).suffix.lower(), bounded, prune)
        if bounded and re.search(r"\\[uU]", text):
            _check_texts(document)
    except NotJsonError as reason:
        hint = "if it is YAML, name it .yaml"
        raise error(
            f"{printable(path)}: {reason} ({hint})", code="file-unreadable", file=path, hint=hint
        ) from None
    except (PlainJsonError, PlainYamlError) as reason:
        raise error(f"{printable(path)}: {reason}", code="file-unreadable", file=path) from None
    return document


def _parse(text: str, suffix: str, bounded: bool, prune: Prune | None) -> Any:
    if suffix == ".json":
        return parse_json(text, bounded, prune)
    if suffix not in (".yaml", ".yml") and text.lstrip()[:1] in ("{", "["):
        try:
            return parse_json(text, bounded, prune)
        except NotJsonError:
            pass  # YAML has braces and brackets too
    return parse_yaml(text)


def _check_texts(document: Any) -> None:
    """Refuse halves of characters, which ``"\\ud800"`` is one of: no file can hold them later."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if re.search("[\ud800-\udfff]", value):
                raise PlainJsonError(
                    f"the text {printable(repr(value), 60)} has half a character (a lone "
                    "surrogate); write the character itself"
                )
        elif isinstance(value, dict):
            waiting += [
                *cast("dict[Any, Any]", value).keys(),
                *cast("dict[Any, Any]", value).values(),
            ]
        elif isinstance(value, list):
            waiting += cast("list[Any]", value)


def read_text(path: str | Path, error: type[InputError], max_bytes: int) -> str:
    """Read a UTF-8 text file of at most ``max_bytes`` bytes.

    Raises:
        InputError: As ``error``: missing, empty, too large, or not UTF-8 text.
    """
    path = Path(path)
    size = check_file(path, error)
    if size > max_bytes:
        raise error(
            f"{printable(path)}: {size} bytes; expected at most {max_bytes}",
            code="file-too-large",
            file=path,
        )
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise error(
            f"{printable(path)}: cannot be read: {reason.strerror}",
            code="file-unreadable",
            file=path,
        ) from reason
    for start, kind in BINARY_STARTS.items():
        if content.startswith(start):
            raise error(
                f"{printable(path)}: this is {kind}; expected a JSON or YAML text file",
                code="file-unreadable",
                file=path,
            )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(
            f"{printable(path)}: byte {reason.start} is not UTF-8; expected a text file, saved as "
            "UTF-8",
            code="file-unreadable",
            file=path,
            hint="save it as UTF-8",
        ) from None
    if not text or text.isspace():
        raise error(f"{printable(path)}: the file is empty", code="file-unreadable", file=path)
    return text
