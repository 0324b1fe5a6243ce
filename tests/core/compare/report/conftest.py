"""A comparison's folder, and the browser that its page is looked at with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import (
    ComparePlan,
    PlannedDepth,
    PlannedDepthModel,
    PlannedJob,
    PlannedLayout,
    PlannedSystem,
)
from threedis_core.values.layout import Layout

COLOURS = ("red", "blue", "green")
SIDE = 32


class Comparison:
    """A folder as ``threedis compare`` leaves it: a plan, pictures, findings, scores, figures."""

    def __init__(
        self,
        path: Path,
        layouts: int = 3,
        systems: tuple[str, ...] = ("sd15", "flux"),
        seeds: tuple[int, ...] = (0,),
        prompt: str = "",
    ) -> None:
        self.folder = CompareFolder(path)
        self.plan = _plan(layouts, systems, seeds, prompt)
        path.mkdir(parents=True, exist_ok=True)
        self.folder.plan.write_text(self.plan.model_dump_json(), "utf-8")
        for depth in self.plan.depths:
            levels = np.linspace(0, 65535, SIDE * SIDE).reshape(SIDE, SIDE)
            _save(levels.astype(np.uint16), self.folder.depth(depth.key))
        for number, job in enumerate(self.plan.jobs):
            self.render(job, number)
        self.summarise()

    def render(self, job: PlannedJob, number: int) -> None:
        """A picture of one colour, what was found in it, and how it scored."""
        color = np.array([40 + 30 * (number % 7), 90, 200 - 20 * (number % 9)], np.uint8)
        _save(np.full((SIDE, SIDE, 3), color), self.folder.picture(job.key))
        system = self.plan.systems.index(self.plan.systems_by_name[job.system])
        layout = self.plan.layouts_by_id[job.layout].layout
        assert layout is not None
        states = [(number + index + system) % 3 for index in range(len(layout.instances))]
        instances = [
            {"found": s > 0, "colour": s > 1, "right": s > 1, "iou": (0.2, 0.6, 0.9)[s]}
            for s in states
        ]
        boxes = [{"boxes": [i.box.xyxy], "scores": [0.8]} for i in layout.instances]
        _write(self.folder.detection("eye", job.key), {"instances": boxes})
        _write(self.folder.score("mig", job.key), {"instances": instances, "picture": {"sr": 0.0}})

    def summarise(self, **changes: Any) -> None:
        """The figures, made up."""
        names = [system.name for system in self.plan.systems]
        _write(self.folder.summary, SUMMARY | {"figures": _figures(names)} | changes)

    def fail(self, stage: str, key: str, error: str) -> None:
        """A job that failed leaves no picture, and says why."""
        self.folder.picture(key).unlink(missing_ok=True)
        _write(self.folder.failure(stage, key), {"error": error, "code": "x", "attempts": 1})


SUMMARY: dict[str, Any] = {
    "format": 1,
    "metrics": [
        {
            "name": "mig",
            "detector": "eye",
            "note": "",
            "figures": [
                {
                    **{"name": "isr", "key": "right", "title": "ISR", "unit": "%"},
                    **{"better": "higher", "meaning": "Instances in their place and colour."},
                },
                {
                    **{"name": "miou", "key": "iou", "title": "mIoU", "unit": ""},
                    **{"better": "higher", "meaning": "Mean overlap."},
                },
            ],
        }
    ],
    "systems": [
        {
            "name": "sd15",
            "stage_seconds": {"detect-eye": 0.5, "loading": 7.0, "render": 1.25},
            "peak_memory": 3_200_000_000,
        }
    ],
}


def _figures(systems: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for place, system in enumerate(systems):
        apart = None if place == 0 else _apart(0.02 if place == 1 else 0.3)
        for figure in ("isr", "miou"):
            for stratum in (None, {"name": "level", "value": "L2"}):
                for complete in (True, False) if stratum is None else (True,):
                    found.append(
                        {
                            **{"metric": "mig", "figure": figure, "stratum": stratum},
                            **{"system": system, "value": 0.5 + place / 10, "low": 0.4},
                            **{"high": 0.8, "interval": "wilson" if place else "bca"},
                            **{"layouts": 3, "instances": 6, "complete": complete},
                            **{"exploratory": figure != "isr", "difference": apart},
                        }
                    )
    return found


def _apart(value: float) -> dict[str, Any]:
    sure = value > 0.1
    return {
        **{"value": value, "low": value - 0.1, "high": value + 0.1, "p": 0.2},
        **{"p_adjusted": 0.0004 if sure else 0.4, "smallest_detectable": 0.15},
        "verdict": "better" if sure else "not distinguished",
    }


def _plan(layouts: int, systems: tuple[str, ...], seeds: tuple[int, ...], said: str) -> ComparePlan:
    planned = [_layout(number, said) for number in range(layouts)]
    return ComparePlan(
        versions={"threedis": "0.1.0", "torch": "2.13.0"},
        primary="mig.isr",
        baseline=systems[0],
        metrics={"mig": {"threshold": 0.5}},
        detectors={"eye": {}},
        seeds=seeds,
        layouts=tuple(planned),
        depth_models=(PlannedDepthModel(name="scene"),),
        systems=tuple(
            PlannedSystem(
                **{"name": name, "renderer": name.partition("@")[0], "depth_model": "scene"},
                **{"options": {"steps": 50 if "@" in name else 20, "lora": None}},
            )
            for name in systems
        ),
        depths=tuple(
            PlannedDepth(
                key=f"depth{a.place}", layout=a.id, depth_model="scene", seed=0, size=(SIDE, SIDE)
            )
            for a in planned
        ),
        jobs=tuple(
            PlannedJob(
                **{"key": f"job{place}-{asked.place}-{seed}", "system": system, "seed": seed},
                **{"layout": asked.id, "depth": f"depth{asked.place}", "batch": 0},
                size=(SIDE, SIDE),
            )
            for place, system in enumerate(systems)
            for asked in planned
            for seed in seeds
        ),
    )


def _layout(number: int, said: str) -> PlannedLayout:
    instances = [
        {
            "prompt": f"{said}a {COLOURS[(number + index) % 3]} cube",
            "box": [0.05 + 0.4 * index, 0.1, 0.4 + 0.4 * index, 0.7],
        }
        for index in range(2)
    ]
    layout = Layout.from_dict({"prompt": f"{said}scene {number}", "instances": instances})
    return PlannedLayout(
        **{"id": f"{said}layout {number}", "source": "many.yaml", "sha256": "ab" * 32},
        **{"place": number, "level": 2 + number % 2, "layout": layout},
    )


def _save(pixels: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


def _write(file: Path, data: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data), "utf-8")


@pytest.fixture
def comparison(tmp_path: Path) -> Callable[..., Comparison]:
    """Make a comparison's folder."""
    return lambda **how: Comparison(tmp_path / "out", **how)


@pytest.fixture
def look(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page from disk; it may say nothing in the console, and ask nobody for anything."""
    contexts: list[Any] = []
    said: list[str] = []

    def open_page(file: Path, width: int = 1366, height: int = 900, scheme: str = "light") -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda asked: said.append(asked.url) if _foreign(asked.url) else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def _foreign(address: str) -> bool:
    return not address.startswith(("file:", "data:"))
