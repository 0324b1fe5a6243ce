"""Read JSON and YAML that a person wrote: bounded, plain data only, one clear line if it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from threedis_core.errors import InputError, LayoutError
from threedis_core.files.limits import MAX_DOCUMENT_BYTES
from threedis_core.files.pictures import check_file
from threedis_core.files.plain_yaml import PlainYamlError, parse_yaml

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
    path: str | Path, error: type[InputError] = LayoutError, max_bytes: int = MAX_DOCUMENT_BYTES
) -> Any:
    """Read a JSON or YAML file: dicts, lists, texts, numbers, booleans and None.

    The suffix says which of the two it is; with any other suffix, a file that starts with ``{``
    or ``[`` and parses as JSON is JSON, everything else YAML.

    Args:
        path: The file.
        error: The error class to raise.
        max_bytes: The largest file that is read.
    Raises:
        InputError: As ``error``: missing, too large, not text, not JSON or YAML, a duplicate key,
            nested too deep, or YAML with anchors, aliases or tags.
    """
    text = read_text(path, error, max_bytes)
    suffix = Path(path).suffix.lower()
    if suffix == ".json" or (suffix not in (".yaml", ".yml") and _looks_like_json(text)):
        return _parse_json(text, path, error)
    try:
        return parse_yaml(text)
    except PlainYamlError as reason:
        raise error(f"{path}: {reason}") from None


def read_text(path: str | Path, error: type[InputError], max_bytes: int) -> str:
    """Read a UTF-8 text file of at most ``max_bytes`` bytes.

    Raises:
        InputError: As ``error``: missing, empty, too large, or not UTF-8 text.
    """
    path = Path(path)
    size = check_file(path, error)
    if size > max_bytes:
        raise error(f"{path}: {size} bytes; expected at most {max_bytes}")
    try:
        content = path.read_bytes()
    except OSError as reason:
        raise error(f"{path}: cannot be read: {reason.strerror}") from reason
    for start, kind in BINARY_STARTS.items():
        if content.startswith(start):
            raise error(f"{path}: this is {kind}; expected a JSON or YAML text file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(
            f"{path}: byte {reason.start} is not UTF-8; expected a text file, saved as UTF-8"
        ) from None
    if not text.strip():
        raise error(f"{path}: the file is empty")
    return text


def _looks_like_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_json(text: str, path: str | Path, error: type[InputError]) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise error(f"{path}: the key {twice!r:.60} appears twice in one object; remove one")
        return result

    try:
        return json.loads(text, object_pairs_hook=mapping)
    except json.JSONDecodeError as reason:
        raise error(
            f"{path}: not JSON: line {reason.lineno}, column {reason.colno}: {reason.msg} "
            "(if it is YAML, name it .yaml)"
        ) from None
    except RecursionError:
        raise error(f"{path}: lists or objects are nested too deep") from None
    except ValueError as reason:
        if isinstance(reason, error):
            raise
        raise error(f"{path}: not JSON that can be read: {reason!s:.100}") from None
