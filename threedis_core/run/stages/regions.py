"""The second stage of a run: the regions of the instances."""

from __future__ import annotations

from collections.abc import Callable

from threedis_core.plugin.failures import failures_named
from threedis_core.plugin.interfaces import RegionRefiner
from threedis_core.plugin.result_checks import checked_regions
from threedis_core.run.lending import Lender
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions


def make_regions(
    refiner: RegionRefiner,
    name: str,
    layout: Layout,
    depth: DepthMap,
    warn: Callable[[str], None],
    lender: Lender,
) -> Regions:
    """The regions that ``refiner``, which is called ``name``, makes of ``layout`` and its depth.

    Raises:
        InputError: The refiner cannot serve the layout.
        WeightsError: Its model is missing or unreadable.
        RenderError: It failed.
    """
    who = f"region refiner '{name}'"
    with lender.lent(refiner, who, warn) as lent, failures_named(who):
        return checked_regions(lent.refine(layout, depth), layout)
