"""``clip`` on a tiny random model of the real class."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer

from threedis_core import Layout, Metric, ScoreRequest, load_plugins
from threedis_core.drawing.layout import draw_layout
from threedis_core.errors import WeightsError
from threedis_core.testing import MetricConformance, sample_layout

LAYOUT = sample_layout(3)
PICTURE = draw_layout(LAYOUT, 64, 48).resize((64, 48))


class TestClip(MetricConformance):
    plugin_module = "threedis_detect"

    @pytest.fixture(autouse=True)
    def _folder(self, clip_folder) -> None:
        self.folder = str(clip_folder)

    def make_metric(self, **options: Any) -> Metric:
        return load_plugins().metric("clip", {"model": self.folder, **options})


def score(folder, picture: Image.Image, layout: Layout = LAYOUT, **options: Any) -> Any:
    metric = load_plugins().metric("clip", {"model": str(folder), **options})
    return metric.score([ScoreRequest(layout, None, lambda: picture)])[0]


def test_the_score_is_100_times_transformers_own_cosine(clip_folder) -> None:
    model = CLIPModel.from_pretrained(clip_folder).eval()
    processor = CLIPProcessor(
        CLIPImageProcessorPil.from_pretrained(clip_folder),
        CLIPTokenizer.from_pretrained(clip_folder),
    )

    def expected(picture: Image.Image, text: str) -> float:
        inputs = processor(
            images=picture, text=text, return_tensors="pt", truncation=True, max_length=32
        )
        with torch.no_grad():
            output = model(**inputs)
        return 100 * float((output.image_embeds * output.text_embeds).sum())

    found = score(clip_folder, PICTURE)
    assert found.picture["global"] == pytest.approx(expected(PICTURE, LAYOUT.prompt), abs=5e-3)
    for instance, one in zip(LAYOUT.instances, found.instances, strict=True):
        x0, y0, x1, y1 = np.array(instance.box.xyxy) * [64, 48, 64, 48]
        crop = PICTURE.crop((int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))))
        assert one["local"] == pytest.approx(expected(crop, instance.prompt), abs=5e-3)
    assert len({round(one["local"], 4) for one in found.instances}) == 3


def test_colours_are_read_as_rgb(clip_folder) -> None:
    swapped = Image.fromarray(np.asarray(PICTURE)[..., ::-1].copy())
    assert score(clip_folder, PICTURE).picture != score(clip_folder, swapped).picture
    assert score(clip_folder, PICTURE) == score(clip_folder, PICTURE.convert("RGBA"))


def test_a_long_prompt_is_cut_and_small_batches_change_nothing(clip_folder) -> None:
    long = Layout(prompt="a very long prompt " * 40, instances=LAYOUT.instances)
    assert np.isfinite(score(clip_folder, PICTURE, long).picture["global"])
    one, all_at_once = score(clip_folder, PICTURE, batch_size=1), score(clip_folder, PICTURE)
    assert one.picture["global"] == pytest.approx(all_at_once.picture["global"], abs=5e-3)


def test_it_says_that_it_is_not_comparable_and_needs_no_detector() -> None:
    metric = load_plugins().metric("clip")
    assert "not comparable" in metric.note
    assert metric.detector is None
    assert not any(figure.share for figure in metric.figures)


def test_missing_words_and_other_models_are_refused(
    clip_folder, segmenter_folder, tmp_path
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match=r"vocab\.json"):
        load_plugins().metric("clip", {"model": str(folder)}).check()
    with pytest.raises(WeightsError, match="of type 'sam'; expected 'clip'"):
        load_plugins().metric("clip", {"model": str(segmenter_folder)}).check()
