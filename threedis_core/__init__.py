"""ThreeDIS: a layout becomes a depth map, any depth-conditioned model renders it.

The names below are the public ones; each is imported when it is first used, so that
``import threedis_core`` is fast.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

from threedis_core.version import __version__

# Who wants to see what is going on says so; see "Logging" in docs/service.md.
logging.getLogger("threedis_core").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from threedis_core.drawing.layout import draw_layout
    from threedis_core.errors import (
        Cancelled,
        DataError,
        DeadlineExceeded,
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
    from threedis_core.formats.coco import read_coco
    from threedis_core.formats.coco_mig import read_coco_mig
    from threedis_core.formats.layout_files import read_layout
    from threedis_core.plugin.discovery import load_plugins
    from threedis_core.plugin.hookspecs import hookimpl
    from threedis_core.plugin.inspection import Inspection, MemoryNeed, ModelPart, NeededFile
    from threedis_core.plugin.interfaces import (
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
    from threedis_core.plugin.judging.benchmarks import Benchmark
    from threedis_core.plugin.judging.interfaces import (
        DetectRequest,
        Figure,
        FoundBox,
        FoundMask,
        InstanceDetector,
        InstanceFinding,
        Metric,
        MetricOptions,
        PictureScore,
        ScoreRequest,
    )
    from threedis_core.plugin.progress import Progress, silent
    from threedis_core.plugin.registrations import PluginSource
    from threedis_core.plugin.registry import PluginRegistry
    from threedis_core.plugin.request_checks import check_request
    from threedis_core.run.config import Choice, RunConfig
    from threedis_core.run.engine.engine import Engine
    from threedis_core.run.engine.job import Job, JobProgress
    from threedis_core.run.engine.shelf import KeptModel
    from threedis_core.run.render import render, render_config
    from threedis_core.run.result import Preview, Previews, Run, RunImage
    from threedis_core.values.depth import DepthMap
    from threedis_core.values.layout import Box, Instance, InstanceLoRA, Layout
    from threedis_core.values.regions import Regions
    from threedis_core.values.schedule import ControlSchedule, StepRange

_MODULES = {
    "BackendOptions": "plugin.interfaces",
    "Benchmark": "plugin.judging.benchmarks",
    "Box": "values.layout",
    "Cancelled": "errors",
    "Capabilities": "plugin.interfaces",
    "Choice": "run.config",
    "ControlSchedule": "values.schedule",
    "DataError": "errors",
    "DeadlineExceeded": "errors",
    "DepthError": "errors",
    "DepthEstimator": "plugin.interfaces",
    "DepthMap": "values.depth",
    "DepthModel": "plugin.interfaces",
    "DepthRequest": "plugin.interfaces",
    "DetectRequest": "plugin.judging.interfaces",
    "Engine": "run.engine.engine",
    "Figure": "plugin.judging.interfaces",
    "FoundBox": "plugin.judging.interfaces",
    "FoundMask": "plugin.judging.interfaces",
    "InputError": "errors",
    "Inspection": "plugin.inspection",
    "Instance": "values.layout",
    "InstanceDetector": "plugin.judging.interfaces",
    "InstanceFinding": "plugin.judging.interfaces",
    "InstanceLoRA": "values.layout",
    "Job": "run.engine.job",
    "JobProgress": "run.engine.job",
    "KeptModel": "run.engine.shelf",
    "Layout": "values.layout",
    "LayoutError": "errors",
    "MemoryNeed": "plugin.inspection",
    "Metric": "plugin.judging.interfaces",
    "MetricOptions": "plugin.judging.interfaces",
    "ModelPart": "plugin.inspection",
    "NeededFile": "plugin.inspection",
    "OptionError": "errors",
    "PictureScore": "plugin.judging.interfaces",
    "PluginError": "errors",
    "PluginRegistry": "plugin.registry",
    "PluginSource": "plugin.registrations",
    "Preview": "run.result",
    "Previews": "run.result",
    "Progress": "plugin.progress",
    "RegionRefiner": "plugin.interfaces",
    "Regions": "values.regions",
    "RenderBackend": "plugin.interfaces",
    "RenderError": "errors",
    "RenderRequest": "plugin.interfaces",
    "RenderResult": "plugin.interfaces",
    "Run": "run.result",
    "RunConfig": "run.config",
    "RunImage": "run.result",
    "ScoreRequest": "plugin.judging.interfaces",
    "StepRange": "values.schedule",
    "ThreeDISError": "errors",
    "UnknownPluginError": "errors",
    "WeightsError": "errors",
    "check_request": "plugin.request_checks",
    "draw_layout": "drawing.layout",
    "hookimpl": "plugin.hookspecs",
    "load_plugins": "plugin.discovery",
    "read_coco": "formats.coco",
    "read_coco_mig": "formats.coco_mig",
    "read_layout": "formats.layout_files",
    "render": "run.render",
    "render_config": "run.render",
    "silent": "plugin.progress",
}

__all__ = [
    "BackendOptions",
    "Benchmark",
    "Box",
    "Cancelled",
    "Capabilities",
    "Choice",
    "ControlSchedule",
    "DataError",
    "DeadlineExceeded",
    "DepthError",
    "DepthEstimator",
    "DepthMap",
    "DepthModel",
    "DepthRequest",
    "DetectRequest",
    "Engine",
    "Figure",
    "FoundBox",
    "FoundMask",
    "InputError",
    "Inspection",
    "Instance",
    "InstanceDetector",
    "InstanceFinding",
    "InstanceLoRA",
    "Job",
    "JobProgress",
    "KeptModel",
    "Layout",
    "LayoutError",
    "MemoryNeed",
    "Metric",
    "MetricOptions",
    "ModelPart",
    "NeededFile",
    "OptionError",
    "PictureScore",
    "PluginError",
    "PluginRegistry",
    "PluginSource",
    "Preview",
    "Previews",
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
    "ScoreRequest",
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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{module}"), name)
