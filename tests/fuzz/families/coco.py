"""COCO annotation files and COCO-MIG files: missing lists, odd ids, polygons, huge sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from cases import DONE_OR_REFUSED, REFUSED, Case, Family

from families.layouts import DIGITS, WRONG_TEXT, actions
from families.materials import Raw, damaged, depth_png, install_fakes, written

SIZE = (64, 48)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, "", "a", [], {}, [None], [[]], {"a": 1}, DIGITS, Raw("NaN"),
    Raw("-Infinity"),
    1e308, "\x1b[31m", Raw('"\\ud800"'), "a" * 20_000, [1, 2, 3], 2**63, Raw("1e999"),
)  # fmt: skip


def coco() -> dict[str, Any]:
    """A good annotation file of one picture with two objects."""
    boxes = ([4, 4, 20, 20], [30, 10, 20, 30])
    return {
        "images": [{"id": 7, "width": SIZE[0], "height": SIZE[1], "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cube"}, {"id": 2, "name": "cone"}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": n + 1, "bbox": box, "iscrowd": 0}
            for n, box in enumerate(boxes)
        ],
    }


def _case(
    random: Random,
    name: str,
    data: Any,
    codes: frozenset[int],
    image_id: str = "7",
    suffix: str = ".json",
) -> Case:
    file = f"instances{suffix}"
    text = data if isinstance(data, bytes) else written(data).encode("utf-8", "surrogatepass")
    arguments, outputs, is_json = actions(random, file)
    codes = codes if arguments[:2] == ("layout", "check") else codes | REFUSED
    start = 1 if arguments[0] == "render" else 2
    arguments = (*arguments[:start], "--image-id", image_id, *arguments[start:])

    def prepare(work: Path) -> None:
        (work / "depth.png").write_bytes(depth_png())
        install_fakes(work)
        (work / file).write_bytes(text)

    return Case(name, arguments, codes, prepare, outputs, is_json, plugins=True)


def _odd_fields(random: Random) -> Case:
    data = coco()
    part = random.choice(("images", "categories", "annotations"))
    record = random.choice(data[part])
    field = random.choice(list(record))
    record[field] = random.choice(ODD)
    return _case(random, f"{part}.{field} is {repr(record[field])[:40]}", data, DONE_OR_REFUSED)


def _odd_lists(random: Random) -> Case:
    data = coco()
    part = random.choice(("images", "categories", "annotations"))
    way = random.randrange(4)
    if way == 0:
        del data[part]
        return _case(random, f"no {part}", data, REFUSED)
    if way == 1:
        data[part] = random.choice((None, True, 5, "a", {}, {"7": {}}, DIGITS))
        return _case(random, f"{part} is {repr(data[part])[:30]}", data, REFUSED)
    if way == 2:
        data[part].insert(random.randrange(2), random.choice((None, 5, "a", [], Raw("NaN"))))
        return _case(random, f"{part} has no object", data, REFUSED)
    data[part] = data[part] * random.choice((2, 600))
    return _case(random, f"{part} many times", data, DONE_OR_REFUSED)


def _odd_boxes(random: Random) -> Case:
    data = coco()
    values = (
        -1e9,
        -5,
        0,
        1e-300,
        0.5,
        63.9,
        64,
        65,
        1e9,
        1e308,
        Raw("NaN"),
        Raw("Infinity"),
        DIGITS,
        "4",
        True,
    )
    box = [random.choice(values) if random.random() < 0.4 else 5 for _ in range(4)]
    data["annotations"][0]["bbox"] = box
    return _case(random, f"bbox {[str(side)[:9] for side in box]}", data, DONE_OR_REFUSED)


def _corners(count: int, scale: float = 1.0, turns: int = 1) -> list[float]:
    corners: list[float] = []
    for n in range(count):
        angle = 2 * math.pi * n * turns / count
        radius = (0.5 + 0.4 * math.cos(7 * angle)) * scale
        corners += [
            SIZE[0] / 2 * (1 + radius * math.cos(angle)),
            SIZE[1] / 2 * (1 + radius * math.sin(angle)),
        ]
    return corners


def _polygons(random: Random) -> Case:
    data = coco()
    record = data["annotations"][0]
    ways: dict[str, Callable[[], Any]] = {
        "20,000 corners": lambda: [_corners(20_000)],
        "20,000 corners, many turns": lambda: [_corners(20_000, 1.5, 4999)],
        "two corners": lambda: [[1, 1, 5, 5]],
        "an odd count": lambda: [[1, 1, 5, 5, 9, 1, 3]],
        "a line": lambda: [[1, 1, 5, 5, 9, 9]],
        "a point": lambda: [[5, 5] * 10],
        "outside": lambda: [[-1e8, -1e8, 1e8, -1e8, 1e8, 1e8]],
        "no numbers": lambda: [["a", 1, 5, 5, 9, 1]],
        "NaN": lambda: [[Raw("NaN"), 1, 5, 5, 9, 1]],
        "digits": lambda: [[DIGITS, 1, 5, 5, 9, 1]],
        "not nested": lambda: [1, 1, 5, 5, 9, 1],
        "nested more": lambda: [[[1, 1], [5, 5], [9, 1]]],
        "3000 polygons": lambda: [_corners(5) for _ in range(3000)],
        "a text": lambda: "polygon",
        "an empty mapping": lambda: {},
        "no polygons": lambda: [],
        "an empty polygon": lambda: [[]],
        "a code of another size": lambda: {"size": [4, 4], "counts": [8, 8]},
        "a damaged code": lambda: {"size": [SIZE[1], SIZE[0]], "counts": "~~"},
        "a code": lambda: {"size": [SIZE[1], SIZE[0]], "counts": [0, SIZE[0] * SIZE[1]]},
        "a bare code": lambda: {"counts": [1]},
    }
    name = random.choice(list(ways))
    record["segmentation"] = ways[name]()
    record["iscrowd"] = random.choice((0, 0, 0, 1, True, "1", None, []))
    return _case(random, f"{name}, crowd {record['iscrowd']!r}", data, DONE_OR_REFUSED)


def _large(random: Random) -> Case:
    """Pictures of up to 8192 x 8192 with large polygons, and sizes beyond the limits."""
    data = coco()
    side = random.choice((1, 2048, 4096, 8192, 16384, 16385, 10**9))
    width, height = side, random.choice((1, side, 4096))
    data["images"][0] |= {"width": width, "height": height}
    count = random.choice((1, 5, 40))
    far, near = min(width, height) * 0.9, 1
    polygon = [near, near, far, near * 2, far * 0.9, far, near * 3, far * 0.95]
    one = data["annotations"][0] | {"bbox": [0, 0, width, height], "segmentation": [polygon]}
    data["annotations"] = [one] * count
    case = _case(random, f"{width}x{height}, {count} polygons", data, DONE_OR_REFUSED)
    if side <= 2048:
        return case
    # A picture of that size takes long to draw, whatever is in it.
    return replace(
        case,
        heavy=True,
        arguments=("layout", "check", "--image-id", "7", "instances.json"),
        outputs=(),
        is_json=False,
    )


def _ids(random: Random) -> Case:
    wanted = random.choice(("7", "0", "8", str(2**63), "9" * 400))
    data = coco()
    data["images"][0]["id"] = random.choice((7, "7", 7.0, True, None, [7], DIGITS, 0, 2**63))
    return _case(random, f"id {wanted[:30]}", data, DONE_OR_REFUSED, wanted)


def _captions(random: Random) -> Case:
    data = coco()
    caption = {"id": 9, "image_id": 7, "caption": random.choice((*WRONG_TEXT, "a cube and a cone"))}
    data["annotations"].append(caption)
    if random.random() < 0.3:
        data["annotations"] = [caption]
    return _case(random, f"caption {repr(caption['caption'])[:40]}", data, DONE_OR_REFUSED)


def _names(random: Random) -> Case:
    data = coco()
    data["categories"][0]["name"] = random.choice(WRONG_TEXT)
    name = repr(data["categories"][0]["name"])[:40]
    return _case(random, f"a category named {name}", data, REFUSED)


def _damaged(random: Random) -> Case:
    if random.random() < 0.5:
        return _case(random, "damaged", damaged(written(coco()).encode(), random), DONE_OR_REFUSED)
    text = written(mig()).encode()
    return _case(random, "damaged MIG", damaged(text, random), DONE_OR_REFUSED, "5", ".yaml")


def mig() -> dict[str, Any]:
    """A good COCO-MIG file of two layouts."""
    return {
        "a red cube and a cone": {
            "coco_id": 5,
            "a red cube": [[0, 0, 0.5, 0.5]],
            "a cone": [[0.5, 0.5, 1, 1]],
        },
        "two apples": {"coco_id": "6", "a black apple": [[0, 0, 0.5, 0.5], [0.4, 0.4, 1, 1]]},
    }


def _mig(random: Random) -> Case:
    data = mig()
    first = data["a red cube and a cone"]
    way = random.randrange(8)
    codes = DONE_OR_REFUSED
    index = random.choice(("5", "5", "6", "0", "2", "99999999999999999999"))
    if way == 0:
        first["a red cube"] = random.choice(ODD)
    elif way == 1:
        first["a red cube"] = [random.choice(ODD)]
    elif way == 2:
        first["coco_id"] = random.choice(ODD)
    elif way == 3:
        data["a red cube and a cone"] = random.choice(ODD)
    elif way == 4:
        first[random.choice(("", " ", "\x1b[31m", "the", "a red", "a" * 20_000, "5"))] = [
            [0, 0, 1, 1]
        ]
    elif way == 5:
        first["a cone"] = [[0, 0, 1, 1]] * random.choice((900, 1100, 30_000))
    elif way == 6:
        data |= {f"prompt {n}": {"a cube": [[0, 0, 1, 1]]} for n in range(20_000)}
        if random.random() < 0.5:  # then places are meant
            del first["coco_id"]
        index = random.choice(("19000", "20001", "30000"))
    else:
        data = random.choice(
            ([], {}, 5, "text", [mig()], {"prompt": "a cube", "instances": []}, {5: {}})
        )
        codes = REFUSED
        if isinstance(data, dict) and 5 in data:
            return _case(
                random,
                "MIG, a number for a prompt",
                b"5: {a cube: [[0, 0, 1, 1]]}",
                codes,
                "0",
                ".yaml",
            )
    return _case(
        random, f"MIG, way {way}", data, codes, index, random.choice((".yaml", ".yml", ""))
    )


RECIPES = (
    _odd_fields, _odd_fields, _odd_lists, _odd_boxes, _polygons, _polygons, _large, _ids,
    _captions, _names,
    _damaged, _mig, _mig,
)  # fmt: skip
FAMILY = Family("coco", RECIPES, share=12, in_tests=39)
