"""Settings of the whole suite."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Small models are many times slower on two threads than on one when the machine is busy. Read by
# torch when it is first imported, so that tests without torch do not pay for importing it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no fault of the code under test.
settings.register_profile("threedis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("threedis")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds what another one, or the person who runs them, has kept."""
    monkeypatch.setenv("THREEDIS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def benchmark() -> Callable[[str], ModuleType]:
    """A module of the benchmarks' folder, by name."""
    return partial(_module_in, Path(__file__).parents[1] / "benchmarks")


@pytest.fixture
def lazy_device() -> Iterator[Any]:
    """A device beside the CPU that takes tensors of its own alone, as every accelerator does."""
    with _module_in(Path(__file__).parent, "lazy_device").lazy_device() as device:
        yield device


def _module_in(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def make_request() -> Callable[..., Any]:
    """A request to render (prompt, box) pairs, of the depth map that goes with them."""
    from threedis_core.plugin.interfaces import RenderRequest
    from threedis_core.testing.samples import sample_depth
    from threedis_core.values.layout import Layout
    from threedis_core.values.regions import Regions

    def make(
        *instances: tuple[str, tuple[float, float, float, float]],
        prompt: str = "animals in a field",
        negative_prompt: str = "",
        size: tuple[int, int] = (64, 64),
        seed: int = 0,
        **changes: Any,
    ) -> Any:
        width, height = size
        layout = Layout.from_dict(
            {
                "version": 1,
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "instances": [{"prompt": text, "box": list(box)} for text, box in instances],
            }
        )
        depth = sample_depth(layout, width, height)
        regions = Regions.from_layout(layout, width, height)
        return RenderRequest(layout, depth, regions, seed, width, height, **changes)

    return make


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden_cases() -> dict[str, Any]:
    """What each golden case is, by its file's name."""
    return json.loads((GOLDEN / "cases.json").read_text("utf-8"))["cases"]


@pytest.fixture(scope="session")
def golden_tensors() -> Callable[[str], dict[str, Any]]:
    """The tensors of a golden file, by its name."""
    from safetensors.torch import load_file  # torch: not for tests that need none

    return lambda name: load_file(GOLDEN / f"{name}.safetensors")
