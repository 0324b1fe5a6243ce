"""For the tests of plugins: conformance suites, and fakes that need no model.

The conformance suites need pytest; the fakes do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threedis_core.testing.depth_conformance import DepthModelConformance
    from threedis_core.testing.fake_judges import FakeDetector, FakeMetric
    from threedis_core.testing.fakes import FakeDepthModel, FakeRenderer
    from threedis_core.testing.judging_conformance import DetectorConformance, MetricConformance
    from threedis_core.testing.renderer_conformance import RendererConformance
    from threedis_core.testing.samples import sample_depth, sample_layout, sample_request

_MODULES = {
    "DepthModelConformance": "depth_conformance",
    "DetectorConformance": "judging_conformance",
    "FakeDepthModel": "fakes",
    "FakeDetector": "fake_judges",
    "FakeMetric": "fake_judges",
    "FakeRenderer": "fakes",
    "MetricConformance": "judging_conformance",
    "RendererConformance": "renderer_conformance",
    "sample_depth": "samples",
    "sample_layout": "samples",
    "sample_request": "samples",
}

__all__ = [
    "DepthModelConformance",
    "DetectorConformance",
    "FakeDepthModel",
    "FakeDetector",
    "FakeMetric",
    "FakeRenderer",
    "MetricConformance",
    "RendererConformance",
    "sample_depth",
    "sample_layout",
    "sample_request",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{module}"), name)
