"""Write files so that a killed process leaves no half file behind."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a temporary name next to ``path``, then rename it to ``path``.

    Raises:
        OSError: The folder is missing or cannot be written; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
