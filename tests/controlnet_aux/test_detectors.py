"""The real detectors of controlnet-aux, with random weights made here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from threedis_core import DepthMap, load_plugins
from threedis_core.cli import main
from threedis_core.errors import WeightsError

pytest.importorskip("controlnet_aux", reason="run them with: make test-controlnet-aux")

FILE = "dpt_hybrid-midas-501f0c75.pt"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with random weights of MiDaS; 0.5 GB, so it is removed afterwards."""
    from controlnet_aux.midas.midas.dpt_depth import DPTDepthModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("annotators")
    model = DPTDepthModel(path=None, backbone="vitb_rn50_384", non_negative=True)
    torch.save(model.state_dict(), folder / FILE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((96, 64))


def test_midas_runs_and_gives_a_map_of_the_pictures_size(weights, picture) -> None:
    options = {"model": str(weights), "resolution": 64, "device": "cpu"}
    estimator = load_plugins().depth_estimator("midas", options)
    told = []
    found, turned = estimator.estimate(
        [picture, picture.transpose(Image.Transpose.ROTATE_90)], lambda *step: told.append(step)
    )
    assert isinstance(found, DepthMap)
    assert (found.width, found.height) == (96, 64)
    assert (turned.width, turned.height) == (64, 96)
    assert (found.values.min(), found.values.max()) == (0, 1)
    assert told == [("depth", 1, 2), ("depth", 2, 2)]
    detector = estimator.load()
    drawn = detector(picture, detect_resolution=64, image_resolution=64).convert("L")
    wanted = DepthMap.normalise(drawn).resize(96, 64)
    np.testing.assert_allclose(found.values, DepthMap.normalise(wanted.values).values, atol=1e-6)
    estimator.close()


def test_the_command_writes_its_map(weights, picture, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    picture.save("photo.png")
    settings = ["--set", f"model={weights}", "--set", "resolution=64", "--set", "device=cpu"]
    with pytest.raises(SystemExit) as end:
        main(["depth", "estimate", "photo.png", "--model", "midas", *settings])
    assert not end.value.code
    assert capsys.readouterr().out.endswith("photo-depth.png\n")
    assert DepthMap.load("photo-depth.png").values.shape == (64, 96)


@pytest.mark.parametrize("name", ["midas", "zoe", "leres"])
def test_a_missing_file_is_named(name, picture, tmp_path) -> None:
    estimator = load_plugins().depth_estimator(name, {"model": str(tmp_path)})
    with pytest.raises(WeightsError, match=f"'{tmp_path}' has no file '.*'; set model to a folder"):
        estimator.estimate([picture])


def test_a_damaged_file_is_one_clear_line(picture, tmp_path) -> None:
    (tmp_path / FILE).write_bytes(b"no weights")
    estimator = load_plugins().depth_estimator("midas", {"model": str(tmp_path)})
    with pytest.raises(WeightsError, match="cannot be loaded"):
        estimator.estimate([picture])


def test_the_detectors_are_classes_that_controlnet_aux_has() -> None:
    import controlnet_aux

    from threedis_estimate import detectors

    for detector in (detectors.Midas, detectors.Zoe, detectors.Leres):
        assert hasattr(getattr(controlnet_aux, detector.detector_class), "from_pretrained")
