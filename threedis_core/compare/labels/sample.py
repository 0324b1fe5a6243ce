"""Choose instances for a person to label, and make the page on which that is done."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from threedis_core.compare.folder import CompareFolder
from threedis_core.compare.labels.agreement import verdict_figure
from threedis_core.compare.plan.models import ComparePlan, PlannedJob
from threedis_core.compare.scoring.results import read_results
from threedis_core.errors import OptionError
from threedis_core.plugin.judging.interfaces import Metric
from threedis_core.values.box import Box

SHOWN = 384
"""The longer side of a picture on the page, in pixels."""


@dataclass(frozen=True)
class Chosen:
    """An instance of a picture to label."""

    job: PlannedJob
    instance: int


def choose_instances(
    folder: CompareFolder,
    plan: ComparePlan,
    name: str,
    metric: Metric,
    count: int = 100,
    seed: int = 0,
) -> list[Chosen]:
    """Draw instances at random, as many of each system and verdict as there are, in mixed order.

    Raises:
        OptionError: Nothing has been scored.
    """
    key = verdict_figure(metric).value_key
    results = read_results(folder, plan, name, metric)
    groups: dict[tuple[str, bool], list[Chosen]] = {}
    for job in plan.jobs:
        score = results.scores.get(job.key)
        for number, row in enumerate(score.instances if score is not None else ()):
            if row[key] is not None and folder.picture(job.key).is_file():
                groups.setdefault((job.system, bool(row[key])), []).append(Chosen(job, number))
    if not groups:
        raise OptionError(f"'{name}' has scored no picture yet; run 'threedis compare score' first")
    random = np.random.default_rng(seed)
    for members in groups.values():
        random.shuffle(members)  # pyright: ignore[reportArgumentType]
    drawn: list[Chosen] = []
    while len(drawn) < count and any(groups.values()):
        drawn += [members.pop() for members in groups.values() if members]
    drawn = drawn[:count]
    random.shuffle(drawn)  # pyright: ignore[reportArgumentType]
    return drawn


def label_page(folder: CompareFolder, plan: ComparePlan, chosen: Sequence[Chosen]) -> bytes:
    """A page that works offline: an instance at a time, three keys, the labels as a file.

    It tells neither the system nor the verdict, so that nobody is led.
    """
    items = [_item(folder, plan, one) for one in chosen]
    data = json.dumps({"items": items}, ensure_ascii=True, separators=(",", ":"))
    safe = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    template = files("threedis_core.compare.labels").joinpath("page.html").read_text("utf-8")
    return template.replace("@DATA@", safe).encode()


def _item(folder: CompareFolder, plan: ComparePlan, one: Chosen) -> dict[str, Any]:
    layout = plan.readable_layout(one.job.layout)
    instance = layout.instances[one.instance]
    with Image.open(folder.picture(one.job.key)) as opened:
        picture = _marked(opened.convert("RGB"), instance.box)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80)
    source = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {
        "job": one.job.key,
        "instance": one.instance,
        "prompt": instance.prompt,
        "picture": source,
    }


def _marked(picture: Image.Image, box: Box) -> Image.Image:
    """The picture at the page's size, the box drawn in white on black."""
    scale = SHOWN / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    shown = picture.resize(size)
    corners = [side * size[place % 2] for place, side in enumerate(box.xyxy)]
    draw = ImageDraw.Draw(shown)
    draw.rectangle(corners, outline="black", width=4)
    draw.rectangle(
        [corners[0] + 1, corners[1] + 1, corners[2] - 1, corners[3] - 1], outline="white"
    )
    return shown
