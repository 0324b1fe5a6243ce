"""A detector without a model: it finds instances in their boxes, the surer the brighter."""

FILES = {
    "$module/__init__.py": '''
"""The detector ``$name``. Nothing else is imported here, so that listing plugins stays fast."""

from threedis_core import hookimpl


@hookimpl
def threedis_register_instance_detectors(register):
    backend = "$module.backend:${title}Detector"
    register("$name", backend, "What it finds, in a few words")
''',
    "$module/options.py": '''
"""The options of ``$name``."""

from __future__ import annotations

from pydantic import Field

from threedis_core import BackendOptions


class ${title}Options(BackendOptions):
    """Unknown names are refused by the base class."""

    least: float = Field(default=0.05, ge=0, le=1, description="Lower scores are left out.")
''',
    "$module/backend.py": '''
"""The detector ``$name``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from $module.options import ${title}Options
from threedis_core import (
    Box,
    DetectRequest,
    FoundBox,
    InstanceDetector,
    InstanceFinding,
    Progress,
    silent,
)


class ${title}Detector(InstanceDetector):
    """Find every instance in its own box, the surer the brighter it is there."""

    Options = ${title}Options
    options: ${title}Options

    def detect(
        self, requests: Sequence[DetectRequest], progress: Progress = silent
    ) -> list[tuple[InstanceFinding, ...]]:
        """Per request one finding for each instance of its layout, in order."""
        found: list[tuple[InstanceFinding, ...]] = []
        for done, request in enumerate(requests, start=1):
            boxes = [instance.box for instance in request.layout.instances]
            found.append(tuple(self._find(box, request.image) for box in boxes))
            progress("detect", done, len(requests))
        return found

    def _find(self, box: Box, image: Image.Image) -> InstanceFinding:
        x0, y0, x1, y1 = box.xyxy
        sides = (x0 * image.width, y0 * image.height, x1 * image.width, y1 * image.height)
        pixels = np.asarray(image.convert("L").crop(tuple(round(side) for side in sides)))
        score = float(pixels.mean() / 255) if pixels.size else 0.0
        boxes = (FoundBox(box.xyxy, score),) if score >= self.options.least else ()
        return InstanceFinding(boxes)
''',
    "tests/test_$module.py": '''
"""``$name`` passes the suite that every instance detector must pass."""

from $module.backend import ${title}Detector
from $module.options import ${title}Options
from threedis_core.testing import DetectorConformance


class Test${title}(DetectorConformance):
    plugin_module = "$module"

    def make_detector(self, **options):
        return ${title}Detector(${title}Options(**options))
''',
}
