"""Settings of the pocket's tests."""

from __future__ import annotations

import os

import pytest

# Small models are many times slower on two threads than on one when the machine is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another one, or the person who runs them, has kept."""
    monkeypatch.setenv("THREEDIS_CACHE", str(tmp_path_factory.mktemp("cache")))
