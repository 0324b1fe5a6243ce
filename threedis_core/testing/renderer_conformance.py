"""The tests that every renderer must pass. Subclass ``RendererConformance`` in a test file.

class TestMine(RendererConformance):
    plugin_module = "my_plugin"

    def make_backend(self, **options):
        return MyRenderer(MyRenderer.Options(**{"model": TINY, **options}))

A check that cannot be made is skipped, with what to override or to say in ``Capabilities``.
"""

from __future__ import annotations

from threedis_core.testing.renderer.base_picture import BasePictureChecks
from threedis_core.testing.renderer.batches import BatchChecks
from threedis_core.testing.renderer.effects import EffectChecks
from threedis_core.testing.renderer.needs import NeedChecks
from threedis_core.testing.renderer.refusals import RefusalChecks
from threedis_core.testing.renderer.regions import RegionChecks
from threedis_core.testing.renderer.results import ResultChecks
from threedis_core.testing.renderer.traces import TraceChecks


class RendererConformance(
    NeedChecks,
    RefusalChecks,
    ResultChecks,
    EffectChecks,
    RegionChecks,
    BatchChecks,
    TraceChecks,
    BasePictureChecks,
):
    """What every renderer promises; each method that starts with ``test_`` is one check.

    Args:
        plugin_module: The module your entry point names.
        tolerance: How far a picture of a batch may be from the same picture alone, of 255.
    """
