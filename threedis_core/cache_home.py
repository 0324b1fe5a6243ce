"""Where the user's caches are."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path | None:
    """$THREEDIS_CACHE, else $XDG_CACHE_HOME/threedis or ~/.cache/threedis; None: no home."""
    own = os.environ.get("THREEDIS_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(own) if own else Path(shared or Path.home() / ".cache") / "threedis"
    except RuntimeError:  # there is no home
        return None
