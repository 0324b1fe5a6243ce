"""The detectors on tiny random models of the real classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertTokenizer,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    GroundingDinoProcessor,
)

from threedis_core import DetectRequest, InstanceDetector, Layout, load_plugins
from threedis_core.drawing.layout import draw_layout
from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.testing import DetectorConformance, sample_layout
from threedis_detect.detectors import GroundingDino, MMGroundingDino

LAYOUT = sample_layout(3)
PICTURE = draw_layout(LAYOUT, 64, 64).resize((64, 64))


class Suite(DetectorConformance):
    plugin_module = "threedis_detect"
    name = "grounding-dino"

    @pytest.fixture(autouse=True)
    def _folders(self, finder_folder, mm_finder_folder, segmenter_folder) -> None:
        finders = {"grounding-dino": finder_folder, "mm-grounding-dino": mm_finder_folder}
        self.models = {"model": str(finders[self.name]), "segmenter": str(segmenter_folder)}

    def make_detector(self, **options: Any) -> InstanceDetector:
        given = {**self.models, "side": 64, **options}
        return load_plugins().instance_detector(self.name, given)


class TestGroundingDino(Suite):
    """GroundingDINO keeps what every detector promises."""


class TestMMGroundingDino(Suite):
    """So does the second judge."""

    name = "mm-grounding-dino"


@pytest.fixture
def detector(finder_folder, segmenter_folder) -> Any:
    def make(**options: Any) -> InstanceDetector:
        given = {"model": str(finder_folder), "segmenter": str(segmenter_folder), "side": None}
        return load_plugins().instance_detector("grounding-dino", {**given, **options})

    return make


def test_boxes_and_scores_are_those_of_transformers_own_way(detector, finder_folder) -> None:
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessorPil.from_pretrained(finder_folder),
        BertTokenizer.from_pretrained(finder_folder),
    )
    model = GroundingDinoForObjectDetection.from_pretrained(finder_folder).eval()
    found = detector(least_score=0.0).detect([DetectRequest(LAYOUT, PICTURE)])[0]
    for instance, finding in zip(LAYOUT.instances, found, strict=True):
        inputs = processor(images=PICTURE, text=f"{instance.noun}.", return_tensors="pt")
        with torch.no_grad():
            output = model(**inputs)
        expected = processor.post_process_grounded_object_detection(
            output, inputs.input_ids, threshold=0.0, text_threshold=0.0
        )[0]
        order = expected["scores"].argsort(descending=True, stable=True)
        assert len(finding.boxes) == len(order) == 7
        scores = [box.score for box in finding.boxes]
        assert scores == pytest.approx(expected["scores"][order].tolist(), abs=1e-5)
        boxes = np.array([box.xyxy for box in finding.boxes])
        assert np.allclose(boxes, expected["boxes"][order].numpy(), atol=1e-5)
    assert found[0].boxes != found[1].boxes  # another noun, other boxes


def test_a_low_score_is_left_out_and_masks_come_three_a_box(detector) -> None:
    everything = detector(least_score=0.0).detect([DetectRequest(LAYOUT, PICTURE)])[0]
    middle = sorted(box.score for box in everything[0].boxes)[3]
    some = detector(least_score=middle).detect([DetectRequest(LAYOUT, PICTURE)])[0]
    assert 0 < len(some[0].boxes) < 7
    assert all(box.score >= middle for box in some[0].boxes)
    for finding in everything:
        assert len(finding.masks) == 3
        assert all(
            one.mask is None or (one.mask.width, one.mask.height) == PICTURE.size
            for one in finding.masks
        )
    assert any(one.mask is not None for finding in everything for one in finding.masks)
    assert everything[0].masks != everything[1].masks


def test_instances_of_one_noun_have_the_same_boxes_and_masks_of_their_own(detector) -> None:
    first, second, _ = LAYOUT.instances
    twins = Layout(prompt="x", instances=(first, second.model_copy(update={"label": first.label})))
    one, other = detector(least_score=0.0).detect([DetectRequest(twins, PICTURE)])[0]
    assert one.boxes == other.boxes
    assert one.masks != other.masks


def test_a_picture_of_another_height_is_stretched_first(detector) -> None:
    wide = PICTURE.resize((96, 48))
    square = detector(side=64).detect([DetectRequest(LAYOUT, wide)])[0]
    plain = detector().detect([DetectRequest(LAYOUT, wide)])[0]
    sizes = [
        {(m.mask.width, m.mask.height) for f in found for m in f.masks if m.mask is not None}
        for found in (square, plain)
    ]
    assert sizes == [{(64, 64)}, {(96, 48)}]
    grey = Image.new("L", (64, 64), 90)
    assert len(detector(side=64).detect([DetectRequest(LAYOUT, grey)])[0]) == 3


def without(folder: Path, target: Path, name: str) -> Path:
    copy = shutil.copytree(folder, target)
    (copy / name).unlink()
    return copy


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("model.safetensors", r"model\.safetensors"),
        ("config.json", r"config\.json"),
        ("preprocessor_config.json", r"preprocessor_config\.json"),
        ("tokenizer_config.json", r"tokenizer_config\.json"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(
    detector, finder_folder, tmp_path, lost, told
) -> None:
    folder = without(finder_folder, tmp_path / "model", lost)
    with pytest.raises(WeightsError, match=told):
        detector(model=str(folder)).check()


def test_a_finder_without_words_is_refused(detector, finder_folder, tmp_path) -> None:
    folder = shutil.copytree(finder_folder, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match=r"vocab\.txt"):
        detector(model=str(folder)).check()


def test_words_in_a_text_file_alone_do(detector, finder_folder, tmp_path) -> None:
    folder = shutil.copytree(finder_folder, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text((finder_folder / "vocab.txt").read_text())
    request = DetectRequest(LAYOUT, PICTURE)
    old = detector().detect([request])
    assert detector(model=str(folder)).detect([request]) == old


def test_models_of_another_kind_and_devices_that_are_not_there_are_refused(
    detector, segmenter_folder, mm_finder_folder
) -> None:
    with pytest.raises(WeightsError, match="of type 'sam'; expected 'grounding-dino'"):
        detector(model=str(segmenter_folder)).check()
    with pytest.raises(WeightsError, match="'mm-grounding-dino'; expected 'grounding-dino'"):
        detector(model=str(mm_finder_folder)).check()
    with pytest.raises(WeightsError, match="of type 'mm-grounding-dino'; expected 'sam'"):
        detector(segmenter=str(mm_finder_folder)).check()
    with pytest.raises(OptionError, match="no such device"):
        detector(device="cuda:77").check()
    with pytest.raises(WeightsError, match="nowhere"):
        detector(segmenter="nowhere/at/all").check()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone_config": {"model_type": "timm_backbone"}}, "backbone_config is of type"),
        ({"text_config": {"model_type": "gpt2"}}, "text_config is of type 'gpt2'"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
    ],
)
def test_code_and_parts_that_a_configuration_names_are_refused(
    detector, finder_folder, tmp_path, change, told
) -> None:
    folder = shutil.copytree(finder_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(WeightsError, match=told):
        detector(model=str(folder)).check()


def test_numbers_that_are_not_finite_are_an_error(detector, finder_folder, tmp_path) -> None:
    folder = shutil.copytree(finder_folder, tmp_path / "model")
    model = GroundingDinoForObjectDetection.from_pretrained(folder)
    for weight in model.bbox_embed.parameters():
        weight.data.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(RenderError, match="not finite"):
        detector(model=str(folder), device="cpu").detect([DetectRequest(LAYOUT, PICTURE)])


def test_both_models_count_as_memory_and_are_freed(detector) -> None:
    made = detector()
    assert made.memory() == 0
    made.detect([DetectRequest(LAYOUT, PICTURE)])
    assert made.memory() > 10_000
    made.close()
    assert made.memory() == 0


def test_they_are_listed_and_differ_in_their_default_models() -> None:
    registry = load_plugins()
    one = registry.instance_detector("grounding-dino")
    other = registry.instance_detector("mm-grounding-dino")
    assert isinstance(one, GroundingDino)
    assert isinstance(other, MMGroundingDino)
    assert one.options.model != other.options.model
    assert one.options.segmenter == other.options.segmenter == "facebook/sam-vit-huge"
