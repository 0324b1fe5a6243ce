"""A depth model without weights: each box is a plane in front of a floor."""

FILES = {
    "$module/__init__.py": '''
"""The depth model ``$name``. Nothing else is imported here: listing plugins stays fast."""

from threedis_core import hookimpl


@hookimpl
def threedis_register_depth_models(register):
    backend = "$module.backend:${title}DepthModel"
    register("$name", backend, "What it makes, in a few words")
''',
    "$module/options.py": '''
"""The options of ``$name``."""

from __future__ import annotations

from pydantic import Field

from threedis_core import BackendOptions


class ${title}Options(BackendOptions):
    """Unknown names are refused by the base class."""

    roughness: float = Field(default=0.05, ge=0, le=1, description="How uneven it is, 0 to 1.")
''',
    "$module/backend.py": '''
"""The depth model ``$name``.

H, W = height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from $module.options import ${title}Options
from threedis_core import DepthMap, DepthModel, DepthRequest, Progress, silent


class ${title}DepthModel(DepthModel):
    """Draw each box as a plane in front of a floor, a little uneven by the seed."""

    Options = ${title}Options
    options: ${title}Options

    def generate(
        self, requests: Sequence[DepthRequest], progress: Progress = silent
    ) -> list[DepthMap]:
        """One map per request, values 0 (far) to 1 (near); each is the one it gives alone."""
        maps: list[DepthMap] = []
        for done, request in enumerate(requests, start=1):
            maps.append(self._draw(request))
            progress("depth", done, len(requests))
        return maps

    def _draw(self, request: DepthRequest) -> DepthMap:
        height, width = request.height, request.width
        values = np.linspace(0.1, 0.6, height, dtype=np.float32)[:, None].repeat(width, 1)
        for index, instance in enumerate(request.layout.instances):
            x0, y0, x1, y1 = instance.box.xyxy
            rows = slice(int(y0 * height), int(y1 * height))
            columns = slice(int(x0 * width), int(x1 * width))
            values[rows, columns] = 0.7 + 0.3 * (index + 1) / len(request.layout.instances)
        random = np.random.default_rng(request.seed)
        uneven = random.uniform(0, self.options.roughness, values.shape)
        return DepthMap(np.clip(values - uneven, 0, 1).astype(np.float32))
''',
    "tests/test_$module.py": '''
"""``$name`` passes the suite that every depth model must pass."""

from $module.backend import ${title}DepthModel
from $module.options import ${title}Options
from threedis_core.testing import DepthModelConformance


class Test${title}(DepthModelConformance):
    plugin_module = "$module"

    def make_model(self, **options):
        return ${title}DepthModel(${title}Options(**options))
''',
}
