"""Comparisons of any size for trying the report: pictures like photos, verdicts by chance.

Nothing here was rendered by a model; the page does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from threedis_core.compare.report.page import (
    Cell,
    Depth,
    Difference,
    Failure,
    Figure,
    Instance,
    Line,
    Picture,
    Report,
    Row,
    System,
    Verdict,
)

FIGURES = (
    Figure("coco-mig.isr", "ISR", meaning="Instances found in their box in their colour."),
    Figure("coco-mig.miou", "mIoU", meaning="Mean overlap of asked and found boxes."),
    Figure("coco-mig.sr", "SR", meaning="Pictures with every instance found and right."),
    Figure("clip.global", "CLIP", "", meaning="100 times the cosine; not that of any paper."),
)
NAMES = ("sd15", "sd21", "sdxl", "flux", "sd15@off", "sd15@50-steps", "flux@off", "flux@hard")
COLOURS = ("red", "blue", "green", "yellow", "brown", "white")
NOUNS = ("apple", "car", "bird", "book", "bottle", "chair")
LEVELS = ("L2", "L3", "L4", "L5", "L6")
FAIL_EVERY = 37
"""One picture in so many has failed."""


def sample_report(
    folder: Path, layouts: int, systems: int = 4, seeds: int = 1, side: int = 512, prompt: str = ""
) -> Report:
    """Make a comparison's pictures in ``folder`` and say what the page shows of them.

    Args:
        folder: Where the pictures are written.
        layouts: How many layouts.
        systems: How many systems, at most 8.
        seeds: Pictures of each system and layout.
        side: Pixels on a side of every picture.
        prompt: Written before every prompt, for odd texts.
    """
    rng = np.random.default_rng(0)
    scenes = [_scene(rng, side) for _ in range(12)]
    for name in ("pictures", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = NAMES[:systems]
    rows = [_row(folder, rng, scenes, number, names, seeds, prompt) for number in range(layouts)]
    made = [p for row in rows for line in row.lines for p in line.pictures]
    return Report(
        title="Four base models on the same layouts",
        folder=folder,
        primary="coco-mig.isr",
        baseline="sd15",
        systems=[_system(name, made) for name in names],
        figures=FIGURES,
        cells=list(_cells(names, layouts)),
        rows=rows,
        failures=[Failure("out of memory: 23 GB wanted, 22 GB there", "render", names[:1], 3)],
        facts=[("Plan", "sha256:" + "0a" * 32), ("Seeds", "0"), ("ThreeDIS", "0.1.0")],
    )


def _system(name: str, made: Sequence[Picture]) -> System:
    mine = [picture.state for picture in made if picture.system == name]
    base, _, label = name.partition("@")
    options = {"steps": 50 if "50" in label else 20, "guidance": 7.5}
    if label == "off":
        options["control"] = "none"
    place = NAMES.index(name)
    return System(
        name=name,
        base=base,
        options=options,
        planned=len(mine),
        done=mine.count("done"),
        failed=mine.count("failed"),
        seconds={"render": 1.3 + place * 0.8, "detect": 0.4, "score": 0.05},
        loading=12.0 + place,
        memory=(4 + 3 * place) * 1e9,
    )


def _row(
    folder: Path,
    rng: np.random.Generator,
    scenes: Sequence[np.ndarray],
    number: int,
    names: Sequence[str],
    seeds: int,
    prompt: str,
) -> Row:
    instances = list(_instances(rng, 2 + number % 5, prompt))
    depth = folder / "depth" / f"{number}.png"
    grey = _rolled(rng, scenes[number % len(scenes)]).mean(axis=2) * 257
    Image.fromarray(grey.astype(np.uint16)).save(depth, compress_level=1)
    lines: list[Line] = []
    for seed in range(seeds):
        pictures = [_picture(folder, rng, scenes, number, n, seed, instances) for n in names]
        given = [] if seed else [Depth("depth", depth)]
        lines.append(Line(f"seed {seed}", given, pictures))
    said = ", ".join(instance.prompt for instance in instances)
    strata = {"level": LEVELS[number % 5], "overlap": ("none", "some", "much")[number % 3]}
    return Row(f"layout {number}", said, instances, lines, strata)


def _instances(rng: np.random.Generator, count: int, prompt: str) -> Iterator[Instance]:
    for _ in range(count):
        left, top = (float(side) for side in rng.uniform(0, 0.6, 2))
        width, height = (float(side) for side in rng.uniform(0.2, 0.4, 2))
        said = f"{prompt}a {rng.choice(COLOURS)} {rng.choice(NOUNS)}"
        yield Instance(said, (left, top, left + width, top + height))


def _picture(
    folder: Path,
    rng: np.random.Generator,
    scenes: Sequence[np.ndarray],
    number: int,
    system: str,
    seed: int,
    instances: Sequence[Instance],
) -> Picture:
    key = f"{number}-{system}-{seed}"
    if (number * len(NAMES) + NAMES.index(system)) % FAIL_EVERY == FAIL_EVERY - 1:
        return Picture(key, system, "failed", note="out of memory: 23 GB wanted, 22 GB there")
    file = folder / "pictures" / f"{key}.png"
    scene = _rolled(rng, scenes[(number + seed) % len(scenes)])
    Image.fromarray(scene).save(file, compress_level=1)
    verdicts = [_verdict(rng, instance, NAMES.index(system)) for instance in instances]
    right = sum(verdict.state == "right" for verdict in verdicts)
    values = {"clip.global": float(rng.uniform(20, 32))}
    return Picture(key, system, "done", file, right / len(verdicts), verdicts, values)


def _verdict(rng: np.random.Generator, instance: Instance, place: int) -> Verdict:
    chance = float(rng.uniform())
    found = chance < 0.7 + 0.05 * place
    right = chance < 0.5 + 0.05 * place
    overlap = float(rng.uniform(0.5, 0.97) if found else rng.uniform(0, 0.5))
    moved = [side + float(rng.uniform(-0.03, 0.03)) for side in instance.box]
    box = (moved[0], moved[1], moved[2], moved[3])
    state = "right" if right else "wrong" if found else "missing"
    return Verdict(state, {"found": found, "colour": right, "iou": overlap}, box)


def _cells(names: Sequence[str], layouts: int) -> Iterator[Cell]:
    parts = [("level", level) for level in LEVELS]
    parts += [("overlap", part) for part in ("none", "some", "much")]
    for figure in FIGURES:
        for place, name in enumerate(names):
            yield _cell(figure, name, place, layouts, None)
            yield _cell(figure, name, place, layouts, None, complete=False)
            for number, part in enumerate(parts):
                yield _cell(figure, name, place - number, layouts // 5 or 1, part)


def _cell(
    figure: Figure,
    name: str,
    place: int,
    layouts: int,
    part: tuple[str, str] | None,
    complete: bool = True,
) -> Cell:
    scale = 1.0 if figure.unit == "%" else 40.0
    value = (0.53 + 0.031 * place - (0 if complete else 0.013)) * scale
    half = (0.04 if part is None else 0.09) * scale
    apart = 0.031 * place * scale
    sure = abs(apart) > half
    verdict = ("better" if apart > 0 else "worse") if sure else "not distinguished"
    primary = figure.key == "coco-mig.isr" and part is None
    tested = Difference(
        *(apart, apart - half, apart + half),
        p=0.0004 if sure else 0.21,
        p_adjusted=(0.0012 if sure else 0.42) if primary else None,
        smallest=half * 1.4,
        verdict=verdict,
    )
    return Cell(
        figure=figure.key,
        system=name,
        value=value,
        stratum=part,
        low=max(0.0, value - half),
        high=value + half,
        layouts=layouts,
        instances=layouts * 4,
        complete=complete,
        exploratory=not primary,
        difference=None if name == _first(name) else tested,
    )


def _first(name: str) -> str:
    """The baseline has no difference from itself."""
    return NAMES[0] if name == NAMES[0] else ""


def _scene(rng: np.random.Generator, side: int) -> np.ndarray:
    """A picture as rich as a photo: power that falls with the frequency, little colour, edges."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1 / side
    shared = np.fft.fft2(rng.standard_normal((side, side)))
    channels: list[np.ndarray] = []
    for _ in range(3):
        own = np.fft.fft2(rng.standard_normal((side, side)))
        wave = np.fft.ifft2((shared + 0.2 * own) / frequency**1.3).real
        channels.append(128 + 50 * (wave - wave.mean()) / wave.std())
    scene = np.clip(np.stack(channels, axis=2), 0, 255)
    for _ in range(6):
        top, left = rng.integers(0, side * 3 // 4, 2)
        part = scene[top : top + side // 4, left : left + side // 5]
        part[:] = 0.5 * part + 0.5 * rng.uniform(0, 255, 3)
    return scene.astype(np.uint8)


def _rolled(rng: np.random.Generator, scene: np.ndarray) -> np.ndarray:
    return np.roll(scene, tuple(rng.integers(0, scene.shape[0], 2)), axis=(0, 1))
