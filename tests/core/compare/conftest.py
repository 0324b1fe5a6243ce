"""A comparison without a model: a plan, pictures, and scores of the fake judges."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core import DepthMap, Instance, Layout, PluginRegistry, hookimpl
from threedis_core.compare.folder import RENDER, CompareFolder
from threedis_core.compare.plan.models import (
    ComparePlan,
    PlannedDepth,
    PlannedJob,
    PlannedLayout,
    PlannedSystem,
)
from threedis_core.compare.scoring.batches import StoredPicture, detect_batch, score_batch
from threedis_core.plugin.registrations import PluginSource
from threedis_core.testing import sample_depth
from threedis_core.values.box import Box

SYSTEMS = ("base", "other", "third")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Judges:
    @hookimpl
    def threedis_register_instance_detectors(self, register) -> None:
        register("fake-detector", "threedis_core.testing.fake_judges:FakeDetector")

    @hookimpl
    def threedis_register_metrics(self, register) -> None:
        register("fake-metric", "threedis_core.testing.fake_judges:FakeMetric")
        register("position", "threedis_core.metrics.position:Position")


@pytest.fixture
def judges() -> PluginRegistry:
    registry = PluginRegistry()
    registry.add(Judges(), PluginSource("judges", "1.0"))
    return registry


def layout_of(number: int) -> Layout:
    """Two to four instances side by side; the third has the first one's noun."""
    count = 2 + number % 3
    nouns = ("cube", "cone", "cube", "sphere")
    instances = tuple(
        Instance(
            prompt=f"a red {nouns[place]}",
            box=Box.from_xyxy((0.02 + 0.24 * place, 0.1, 0.22 + 0.24 * place, 0.5 + 0.1 * place)),
        )
        for place in range(count)
    )
    return Layout(id=str(number), prompt=f"scene {number}", instances=instances)


@dataclass
class Comparison:
    """A folder that fills, and the brightness that stands for how good a picture is."""

    folder: CompareFolder
    plan: ComparePlan
    judges: PluginRegistry

    def write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def picture(self, job: PlannedJob, lit: list[bool]) -> None:
        """Draw the picture of a job: bright boxes are there, dark ones are not."""
        layout = self.plan.layouts_by_id[job.layout].layout
        assert layout is not None
        pixels = np.full((64, 64, 3), 10, np.uint8)
        for instance, bright in zip(layout.instances, lit, strict=True):
            x0, y0, x1, y1 = (round(64 * side) for side in instance.box.xyxy)
            pixels[y0:y1, x0:x1] = 200 if bright else 20
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        self.write(self.folder.picture(job.key), file.getvalue())

    def judge(self) -> None:
        """Detect and score every picture that is there."""
        for job in self.plan.jobs:
            path = self.folder.picture(job.key)
            layout = self.plan.layouts_by_id[job.layout].layout
            if not path.is_file() or layout is None:
                continue
            for name, options in self.plan.metrics.items():
                metric = self.judges.metric(name, options)
                detector = self.judges.instance_detector(metric.detector or "")
                stored = StoredPicture(job.key, layout, path.read_bytes())
                found = detect_batch("fake-detector", detector, [stored])[0]
                self.write(self.folder.detection("fake-detector", job.key), found)
                stored = StoredPicture(job.key, layout, path.read_bytes(), found)
                self.write(self.folder.score(name, job.key), score_batch(name, metric, [stored])[0])

    def fail(self, job: PlannedJob, stage: str = RENDER) -> None:
        """Record that a job failed."""
        failure = {"error": "no luck", "code": "error", "attempts": 1}
        self.write(self.folder.failure(stage, job.key), json.dumps(failure).encode())

    def job(self, system: str, layout: int, seed: int = 0) -> PlannedJob:
        wanted = (system, str(layout), seed)
        return next(j for j in self.plan.jobs if (j.system, j.layout, j.seed) == wanted)


def made_comparison(
    path: Path, judges: PluginRegistry, layouts: int = 6, seeds: tuple[int, ...] = (0, 1)
) -> Comparison:
    """A comparison of three systems, without a picture yet."""
    planned = tuple(
        PlannedLayout(
            id=str(number),
            source="layouts.yaml",
            sha256="ab" * 32,
            place=number,
            level=2 + number % 3,
            layout=layout_of(number),
        )
        for number in range(layouts)
    )
    jobs = tuple(
        PlannedJob(
            key=f"{system}{number:03}s{seed}",
            system=system,
            layout=str(number),
            depth=f"d{number:03}",
            seed=seed,
            batch=0,
            size=(64, 64),
        )
        for system in SYSTEMS
        for number in range(layouts)
        for seed in seeds
    )
    plan = ComparePlan(
        versions={"threedis": "0"},
        primary="fake-metric.there",
        baseline="base",
        metrics={"fake-metric": {}, "position": {"detector": "fake-detector"}},
        detectors={"fake-detector": {}},
        seeds=seeds,
        layouts=planned,
        systems=tuple(PlannedSystem(name=name, renderer="fake") for name in SYSTEMS),
        depths=tuple(
            PlannedDepth(key=f"d{n:03}", layout=str(n), depth_model="fake", seed=0, size=(64, 64))
            for n in range(layouts)
        ),
        jobs=jobs,
    )
    folder = CompareFolder(path)
    folder.path.mkdir(parents=True, exist_ok=True)
    for depth in plan.depths:
        folder.depth(depth.key).parent.mkdir(exist_ok=True)
        layout = plan.layouts_by_id[depth.layout].layout
        assert layout is not None
        flat = DepthMap(np.full((64, 64), 0.3, np.float32))  # the first map shows nothing
        depth_map = flat if depth.layout == "0" else sample_depth(layout, 64, 64)
        depth_map.save(folder.depth(depth.key))
    return Comparison(folder, plan, judges)


@pytest.fixture
def comparison(tmp_path: Path, judges: PluginRegistry) -> Comparison:
    """Of six layouts with two seeds; base lights every instance, other none but the first."""
    made = made_comparison(tmp_path / "out", judges)
    for job in made.plan.jobs:
        layout = made.plan.layouts_by_id[job.layout].layout
        assert layout is not None
        count = len(layout.instances)
        lit = {
            "base": [True] * count,
            "other": [True] + [False] * (count - 1),
            "third": [(int(job.layout) + job.seed) % 2 == 0] * count,
        }
        made.picture(job, lit[job.system])
    made.judge()
    return made


@pytest.fixture
def make_comparison() -> Callable[..., Comparison]:
    """Makes a comparison of three systems, without a picture yet."""
    return made_comparison


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Debian's browser, without a head; its driver runs only while a module needs it."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()
