"""Score stored detections and make all statistics, on one core, without a model.

A comparison of 800 layouts x 4 systems x 2 seeds is made up: levels 2 to 6, pictures of 512 x 512,
boxes and three masks an instance as a detector stores them. What is timed is what
``threedis compare score`` does in one process: read detections and pictures, score with
``coco-mig`` and ``position``, write the scores, then all intervals, tests, strata and tables.
``--from-pictures`` stores detections as of a detector that kept no colours, so that every picture
is opened to look for them.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from threedis_core import FoundBox, FoundMask, Instance, InstanceFinding, Layout, load_plugins
from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.plan.models import (
    ComparePlan,
    PlannedDepth,
    PlannedJob,
    PlannedLayout,
    PlannedSystem,
)
from threedis_core.compare.scoring.batches import StoredPicture, score_batch
from threedis_core.compare.scoring.stored import findings_file
from threedis_core.compare.tables.writing import write_tables
from threedis_core.metrics.coco_mig import colour_facts
from threedis_core.testing import sample_depth
from threedis_core.values.box import Box
from threedis_core.values.masks.mask import Mask

SIDE = 512
NOUNS = ("apple", "bench", "car", "cat", "cup", "dog", "sports ball", "teddy bear")
COLOURS = {
    "red": (200, 30, 30),
    "blue": (30, 60, 200),
    "green": (40, 160, 50),
    "black": (12, 10, 14),
}
QUALITY = {"base": 0.55, "second": 0.6, "third": 0.56, "fourth": 0.4}
"""Of each system the share of instances that are about right."""
DETECTOR = "grounding-dino"
METRICS: dict[str, dict[str, Any]] = {"coco-mig": {}, "position": {}}
_random = np.random.default_rng(1)
GRAINS = [_random.integers(-6, 7, (SIDE, SIDE, 3), dtype=np.int16) for _ in range(8)]
BACKGROUNDS = [
    Image.fromarray(_random.integers(90, 170, (64, 64, 3), dtype=np.uint8))
    .resize((SIDE, SIDE))
    .filter(ImageFilter.GaussianBlur(2))
    for _ in range(8)
]


def layout_of(number: int, random: np.random.Generator) -> Layout:
    """Two to six instances that do not much overlap."""
    count = 2 + number % 5
    cells = random.permutation(9)[:count]
    names = list(COLOURS)
    instances = []
    for cell in cells:
        row, column = divmod(int(cell), 3)
        corner = np.array([column, row]) / 3 + random.uniform(0, 0.08, 2)
        far = np.minimum(corner + random.uniform(0.15, 0.3, 2), 1.0)
        colour, noun = names[random.integers(len(names))], NOUNS[random.integers(len(NOUNS))]
        box = Box.from_xyxy((*corner.tolist(), *far.tolist()))
        instances.append(Instance(prompt=f"a {colour} {noun}", box=box))
    return Layout(id=str(number), prompt="a scene", instances=tuple(instances))


def made_up(
    layout: Layout, quality: float, random: np.random.Generator, from_picture: bool = False
) -> tuple[Image.Image, tuple[InstanceFinding, ...]]:
    """A picture and what a detector would store of it."""
    picture = BACKGROUNDS[random.integers(len(BACKGROUNDS))].copy()
    draw = ImageDraw.Draw(picture)
    hard = random.beta(2, 2)
    findings: list[InstanceFinding] = []
    for instance in layout.instances:
        good = random.uniform() < (quality + hard) / 2
        x0, y0, x1, y1 = (SIDE * side for side in instance.box.xyxy)
        colour = COLOURS[instance.prompt.split()[1]] if good else (150, 140, 120)
        draw.ellipse((x0, y0, x1, y1), fill=colour)
        findings.append(_finding(instance, good, random))
    grain = GRAINS[random.integers(len(GRAINS))]
    pixels = np.clip(np.asarray(picture).astype(np.int16) + grain, 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    facts = [{} if from_picture else colour_facts(one.masks, image) for one in findings]
    return image, tuple(replace(one, facts=f) for one, f in zip(findings, facts, strict=True))


def _finding(instance: Instance, good: bool, random: np.random.Generator) -> InstanceFinding:
    own = np.array(instance.box.xyxy)
    boxes = [
        FoundBox(tuple((own + random.normal(0, 0.01 if good else 0.12, 4)).tolist()), score)
        for score in random.uniform(0.05, 0.9, 8).round(4).tolist()
    ]
    masks: list[FoundMask] = []
    rows, columns = np.mgrid[: SIDE // 4, : SIDE // 4]
    x0, y0, x1, y1 = own * SIDE / 4
    for scale in (1.0, 0.8, 1.2):
        across = (columns - (x0 + x1) / 2) / ((x1 - x0) / 2 * scale)
        down = (rows - (y0 + y1) / 2) / ((y1 - y0) / 2 * scale)
        mask = across**2 + down**2 + 0.1 * np.sin(9 * across) * np.sin(7 * down) < 1
        large = np.repeat(np.repeat(mask, 4, axis=0), 4, axis=1)
        masks.append(FoundMask(Mask.encode(large), round(float(random.uniform(0.5, 1)), 4)))
    return InstanceFinding(tuple(boxes), tuple(masks))


def prepare(
    folder: CompareFolder, layouts: int, seeds: int, from_picture: bool = False
) -> ComparePlan:
    """Write plan, depth maps, pictures and detections; nothing of this is timed."""
    random = np.random.default_rng(0)
    planned = tuple(
        PlannedLayout(
            id=str(n), source="made-up.yaml", sha256="0" * 64, place=n, level=2 + n % 5,
            layout=layout_of(n, random),
        )
        for n in range(layouts)
    )  # fmt: skip
    jobs = tuple(
        PlannedJob(
            key=f"{name}-{n:04}-{seed}", system=name, layout=str(n), depth=f"d{n:04}", seed=seed,
            batch=0, size=(SIDE, SIDE),
        )
        for name in QUALITY for n in range(layouts) for seed in range(seeds)
    )  # fmt: skip
    plan = ComparePlan(
        versions={}, primary="coco-mig.isr", baseline="base", metrics=METRICS,
        detectors={DETECTOR: {}}, seeds=tuple(range(seeds)), layouts=planned,
        systems=tuple(PlannedSystem(name=name, renderer="made-up") for name in QUALITY),
        depths=tuple(
            PlannedDepth(key=f"d{n:04}", layout=str(n), depth_model="made-up", seed=0,
                         size=(SIDE, SIDE))
            for n in range(layouts)
        ),
        jobs=jobs,
    )  # fmt: skip
    for place in ("pictures", "depth", f"detections/{DETECTOR}", *(f"scores/{n}" for n in METRICS)):
        (folder.path / place).mkdir(parents=True)
    for depth in plan.depths:
        layout = plan.readable_layout(depth.layout)
        sample_depth(layout, SIDE, SIDE).save(folder.depth(depth.key))
    detector = load_plugins().instance_detector(DETECTOR)
    for job in jobs:
        layout = plan.readable_layout(job.layout)
        picture, findings = made_up(layout, QUALITY[job.system], random, from_picture)
        picture.save(folder.picture(job.key), compress_level=4)
        content = findings_file(DETECTOR, detector, job.key, findings)
        folder.detection(DETECTOR, job.key).write_bytes(content)
    return plan


def timed(folder: CompareFolder, plan: ComparePlan) -> Iterator[dict[str, Any]]:
    """Seconds of each part: wall clock and processor."""
    registry = load_plugins()
    for name, options in plan.metrics.items():
        metric = registry.metric(name, options)
        start = perf_counter(), process_time()
        for job in plan.jobs:
            layout = plan.readable_layout(job.layout)
            image = folder.picture(job.key).read_bytes()
            found = folder.detection(DETECTOR, job.key).read_bytes()
            content = score_batch(name, metric, [StoredPicture(job.key, layout, image, found)])[0]
            folder.score(name, job.key).write_bytes(content)
        yield _row(f"score {name}", start)
    start = perf_counter(), process_time()
    write_tables(folder, plan, registry=registry)
    yield _row("statistics and tables", start)


def _row(part: str, start: tuple[float, float]) -> dict[str, Any]:
    return {"part": part, "wall_s": perf_counter() - start[0], "cpu_s": process_time() - start[1]}


def main() -> None:
    """Print the seconds of each part and their sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layouts", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder")
    parser.add_argument("--from-pictures", action="store_true", help="open every picture")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = CompareFolder(arguments.folder or Path(temporary) / "comparison")
        plan = prepare(folder, arguments.layouts, arguments.seeds, arguments.from_pictures)
        rows = list(timed(folder, plan))
        figures = json.loads(folder.summary.read_bytes())["figures"]
        told = io.StringIO()
        for row in [*rows, {"part": "all", **_sums(rows)}]:
            told.write(
                f"{row['part']:<24}{row['wall_s']:8.1f} s{row['cpu_s']:8.1f} s of processor\n"
            )
        told.write(f"{len(plan.jobs)} pictures, {len(figures)} figures with intervals\n")
        document = {"rows": rows, "pictures": len(plan.jobs), "figures": len(figures)}
        print(json.dumps(document) if arguments.json else told.getvalue(), end="")


def _sums(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) for name in ("wall_s", "cpu_s")}


if __name__ == "__main__":
    main()
