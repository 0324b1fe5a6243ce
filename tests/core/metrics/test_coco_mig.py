from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from threedis_core import FoundBox, FoundMask, Instance, InstanceFinding, Layout, ScoreRequest
from threedis_core.errors import LayoutError
from threedis_core.metrics.boxes import ious, suppress
from threedis_core.metrics.coco_mig import CocoMig, CocoMigOptions
from threedis_core.metrics.colours import in_colour, named_colour, to_hsv
from threedis_core.metrics.resizing import stretch
from threedis_core.values.box import Box
from threedis_core.values.masks.mask import Mask

BOX = Box.from_xyxy((0.25, 0.25, 0.75, 0.75))
RED = Image.new("RGB", (512, 512), (200, 10, 10))
WHOLE = FoundMask(Mask.encode(np.ones((512, 512))), 0.9)
GOOD = FoundBox(BOX.xyxy, 0.9)


def judge(
    *boxes: FoundBox, masks=(WHOLE,), picture=RED, prompt="a red cat", **options
) -> tuple[dict, dict]:
    layout = Layout(prompt="x", instances=(Instance(prompt=prompt, box=BOX),))
    finding = InstanceFinding(boxes, masks)
    metric = CocoMig(CocoMigOptions(**options))
    score = metric.score([ScoreRequest(layout, (finding,), lambda: picture)])[0]
    return dict(score.instances[0]), dict(score.picture)


def test_an_iou_of_exactly_a_half_is_found() -> None:
    half = FoundBox((0.25, 0.25, 0.75, 0.5), 0.9)
    judged, _ = judge(half)
    assert judged == {"found": True, "colour": True, "right": True, "iou": 0.5, "box_iou": 0.5}
    less, picture = judge(FoundBox((0.25, 0.25, 0.75, 0.4999), 0.9))
    assert not less["found"]
    assert 0 < less["iou"] < 0.5
    assert picture == {"sr": False}


def test_a_wrong_colour_costs_the_iou_too() -> None:
    judged, picture = judge(GOOD, prompt="a blue cat")
    assert judged == {"found": True, "colour": False, "right": False, "iou": 0, "box_iou": 1}
    assert picture["sr"] is False


def test_the_mask_of_the_best_score_decides_and_an_empty_one_fails() -> None:
    assert judge(GOOD, masks=(FoundMask(None, 0.8), WHOLE))[0]["right"]
    assert not judge(GOOD, masks=(FoundMask(None, 0.95), WHOLE))[0]["right"]
    assert not judge(GOOD, masks=())[0]["right"]


@pytest.mark.parametrize(("rows", "right"), [(20, True), (19, False)])
def test_a_fifth_of_the_mask_is_enough(rows: int, right: bool) -> None:
    picture = np.zeros((512, 512, 3), np.uint8)
    picture[:rows] = (200, 10, 10)
    mask = np.zeros((512, 512), bool)
    mask[:100] = True
    masks = (FoundMask(Mask.encode(mask), 1.0),)
    assert judge(GOOD, masks=masks, picture=Image.fromarray(picture))[0]["right"] is right


def test_a_box_below_the_threshold_is_not_looked_at_and_one_suppressed_is_lost() -> None:
    assert judge(FoundBox(BOX.xyxy, 0.25))[0]["box_iou"] == 0
    assert judge(FoundBox(BOX.xyxy, 0.2501))[0]["box_iou"] == 1
    near = FoundBox((0.25, 0.25, 0.75, 0.72), 0.95)
    assert ious(BOX.xyxy, [near.xyxy])[0] > 0.8
    assert judge(GOOD, near)[0]["box_iou"] == pytest.approx(0.94)


def test_two_instances_of_one_noun_may_use_the_same_box() -> None:
    instances = (Instance(prompt="a red cat", box=BOX), Instance(prompt="one red cat", box=BOX))
    finding = InstanceFinding((GOOD,), (WHOLE,))
    layout = Layout(prompt="x", instances=instances)
    metric = CocoMig(CocoMigOptions())
    score = metric.score([ScoreRequest(layout, (finding, finding), lambda: RED)])[0]
    assert score.picture["sr"] is True


def test_a_picture_is_not_opened_where_no_colour_matters() -> None:
    def never() -> Image.Image:
        raise AssertionError("opened")

    layout = Layout(prompt="x", instances=(Instance(prompt="a red cat", box=BOX),))
    metric = CocoMig(CocoMigOptions())
    score = metric.score([ScoreRequest(layout, (InstanceFinding(),), never)])[0]
    assert score.instances[0]["right"] is False


def test_a_small_picture_is_stretched_and_a_smaller_mask_fits_it() -> None:
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    picture = Image.new("RGB", (64, 64), (200, 10, 10))
    masks = (FoundMask(Mask.encode(mask), 1.0),)
    assert judge(GOOD, masks=masks, picture=picture)[0]["right"]


def test_an_instance_without_one_of_the_colours_is_refused_by_name() -> None:
    assert named_colour("A Dark-RED apple") == "red"
    with pytest.raises(LayoutError, match=r"instances\[0\]: .*a purple cat.* names none of"):
        judge(GOOD, prompt="a purple cat")


def test_hue_saturation_and_value_are_opencvs_for_all_colours() -> None:
    cv2 = pytest.importorskip("cv2")
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    pixels = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    expected = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2HSV)[0]
    assert np.array_equal(np.stack(to_hsv(pixels), axis=1), expected)


@pytest.mark.parametrize("size", [(256, 256), (1024, 1024), (768, 640), (300, 500)])
def test_stretching_is_opencvs_linear_interpolation(size: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = cv2.resize(pixels, (512, 512)).astype(int)
    difference = np.abs(np.asarray(stretch(Image.fromarray(pixels), 512, 512)) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.003


def test_the_ends_of_a_range_are_in_it() -> None:
    # By hand: black has value 30; white has saturation 255 * (255 - 212) / 255 = 43.
    assert in_colour(np.array([[30, 0, 0], [31, 0, 0]], np.uint8), "black").tolist() == [
        True,
        False,
    ]
    pixels = np.array([[255, 255, 212], [255, 255, 211]], np.uint8)
    assert in_colour(pixels, "white").tolist() == [True, False]


def test_suppression_keeps_the_surest_and_a_box_at_the_threshold() -> None:
    boxes = [
        FoundBox((0, 0, 1, 0.5), 0.5),
        FoundBox((0, 0, 1, 1), 0.9),
        FoundBox((0, 0, 1, 1), 0.8),
    ]
    assert suppress(boxes, 0.5) == [boxes[1], boxes[0]]
    assert suppress(boxes, 0.49) == [boxes[1]]
    assert suppress(boxes, 1.0) == [boxes[1], boxes[2], boxes[0]]
    assert suppress([], 0.5) == []
