"""ThreeDIS: a layout becomes a depth map, any depth-conditioned model renders it.

The names below are the public ones; each is imported when it is first used, so that
``import threedis_core`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from threedis_core.version import __version__

if TYPE_CHECKING:
    from threedis_core.coco import read_coco
    from threedis_core.coco_mig import read_coco_mig
    from threedis_core.config import Choice, RunConfig
    from threedis_core.depth import DepthMap
    from threedis_core.draw import draw_layout
    from threedis_core.errors import (
        DataError,
        DepthError,
        InputError,
        LayoutError,
        OptionError,
        PluginError,
        RenderError,
        ThreeDISError,
        UnknownPluginError,
        WeightsError,
    )
    from threedis_core.hookspecs import hookimpl
    from threedis_core.inspection import Inspection, MemoryNeed, ModelPart, NeededFile
    from threedis_core.interfaces import (
        BackendOptions,
        Capabilities,
        DepthEstimator,
        DepthModel,
        DepthRequest,
        RegionRefiner,
        RenderBackend,
        RenderRequest,
        RenderResult,
    )
    from threedis_core.layout import Box, Instance, Layout
    from threedis_core.layout_files import read_layout
    from threedis_core.plugins import PluginRegistry, load_plugins
    from threedis_core.progress import Progress, silent
    from threedis_core.regions import Regions
    from threedis_core.requests import check_request
    from threedis_core.run import render, render_config
    from threedis_core.run_result import Run, RunImage
    from threedis_core.schedule import ControlSchedule, StepRange

_MODULES = {
    "BackendOptions": "interfaces",
    "Box": "layout",
    "Capabilities": "interfaces",
    "Choice": "config",
    "ControlSchedule": "schedule",
    "DataError": "errors",
    "DepthError": "errors",
    "DepthEstimator": "interfaces",
    "DepthMap": "depth",
    "DepthModel": "interfaces",
    "DepthRequest": "interfaces",
    "InputError": "errors",
    "Inspection": "inspection",
    "Instance": "layout",
    "Layout": "layout",
    "LayoutError": "errors",
    "MemoryNeed": "inspection",
    "ModelPart": "inspection",
    "NeededFile": "inspection",
    "OptionError": "errors",
    "PluginError": "errors",
    "PluginRegistry": "plugins",
    "Progress": "progress",
    "RegionRefiner": "interfaces",
    "Regions": "regions",
    "RenderBackend": "interfaces",
    "RenderError": "errors",
    "RenderRequest": "interfaces",
    "RenderResult": "interfaces",
    "Run": "run_result",
    "RunConfig": "config",
    "RunImage": "run_result",
    "StepRange": "schedule",
    "ThreeDISError": "errors",
    "UnknownPluginError": "errors",
    "WeightsError": "errors",
    "check_request": "requests",
    "draw_layout": "draw",
    "hookimpl": "hookspecs",
    "load_plugins": "plugins",
    "read_coco": "coco",
    "read_coco_mig": "coco_mig",
    "read_layout": "layout_files",
    "render": "run",
    "render_config": "run",
    "silent": "progress",
}

__all__ = [
    "BackendOptions",
    "Box",
    "Capabilities",
    "Choice",
    "ControlSchedule",
    "DataError",
    "DepthError",
    "DepthEstimator",
    "DepthMap",
    "DepthModel",
    "DepthRequest",
    "InputError",
    "Inspection",
    "Instance",
    "Layout",
    "LayoutError",
    "MemoryNeed",
    "ModelPart",
    "NeededFile",
    "OptionError",
    "PluginError",
    "PluginRegistry",
    "Progress",
    "RegionRefiner",
    "Regions",
    "RenderBackend",
    "RenderError",
    "RenderRequest",
    "RenderResult",
    "Run",
    "RunConfig",
    "RunImage",
    "StepRange",
    "ThreeDISError",
    "UnknownPluginError",
    "WeightsError",
    "__version__",
    "check_request",
    "draw_layout",
    "hookimpl",
    "load_plugins",
    "read_coco",
    "read_coco_mig",
    "read_layout",
    "render",
    "render_config",
    "silent",
]


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{module}"), name)
