"""From a picture to scores: tiny real detectors, files between the stages, every metric."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from threedis_core import Layout, load_plugins
from threedis_core.compare.scoring.batches import StoredPicture, detect_batch, score_batch
from threedis_core.compare.scoring.stored import read_score
from threedis_core.drawing.layout import draw_layout
from threedis_core.testing import sample_layout


@pytest.fixture(scope="module")
def layout() -> Layout:
    plain = sample_layout(3)
    red = tuple(one.model_copy(update={"prompt": "a red cube"}) for one in plain.instances)
    return plain.model_copy(update={"instances": red})


@pytest.mark.parametrize("detector", ["grounding-dino", "mm-grounding-dino"])
def test_what_a_detector_stores_is_scored_without_a_model_or_the_picture(
    layout, detector, finder_folder, mm_finder_folder, segmenter_folder
) -> None:
    registry = load_plugins()
    folders = {"grounding-dino": finder_folder, "mm-grounding-dino": mm_finder_folder}
    models = {"model": str(folders[detector]), "segmenter": str(segmenter_folder)}
    finder = registry.instance_detector(detector, {**models, "least_score": 0.0})
    file = io.BytesIO()
    draw_layout(layout, 128, 128).resize((128, 128)).save(file, "PNG")
    picture = StoredPicture("job", layout, file.getvalue())
    found = detect_batch(detector, finder, [picture])[0]
    document = json.loads(found)
    assert document["instances"][0]["facts"]["colours"]["side"] == 512
    lenient = {"detector": detector, "box_threshold": 0.0, "least_iou": 0.0}
    metric = registry.metric("coco-mig", lenient)
    stored = StoredPicture("job", layout, file.getvalue(), found)
    score = read_score(score_batch("coco-mig", metric, [stored])[0])
    for one in document["instances"]:
        one["facts"] = {}
    bare = StoredPicture("job", layout, file.getvalue(), json.dumps(document).encode())
    assert read_score(score_batch("coco-mig", metric, [bare])[0]) == score
    blind = StoredPicture("job", layout, b"no picture", found)
    assert read_score(score_batch("coco-mig", metric, [blind])[0]) == score
    position = registry.metric("position", {"detector": detector, "score_cut": 0.0})
    pooled = position.pool([read_score(score_batch("position", position, [stored])[0])])
    assert 0 <= pooled(np.ones((1, 1)))["ap"][0] <= 1


def test_clip_scores_a_stored_picture(layout, clip_folder) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    metric = load_plugins().metric("clip", {"model": str(clip_folder)})
    score = read_score(
        score_batch("clip", metric, [StoredPicture("job", layout, file.getvalue())])[0]
    )
    assert len(score.instances) == 3
    assert np.isfinite(score.picture["global"])
