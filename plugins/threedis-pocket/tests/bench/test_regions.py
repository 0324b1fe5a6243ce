from __future__ import annotations

import pytest
from PIL import Image

from threedis_core import load_plugins
from threedis_core.cli import main
from threedis_pocket.bench.regions import BLURS, View, held_out, mean_iou


@pytest.fixture(scope="module")
def views() -> list[View]:
    return held_out(24, None)


@pytest.mark.parametrize("depth", BLURS)
def test_depth_edges_finds_the_exact_masks_and_boxes_do_not(views, depth) -> None:
    registry = load_plugins()
    boxes, count = mean_iou(registry.region_refiner("boxes"), views, BLURS[depth])
    edges, _ = mean_iou(registry.region_refiner("depth-edges"), views, BLURS[depth])
    assert count >= 48
    assert edges > max(0.85, boxes + 0.1)


def test_depth_edges_takes_overlapping_boxes_apart() -> None:
    registry, views = load_plugins(), held_out(24, 0.6)
    boxes, _ = mean_iou(registry.region_refiner("boxes"), views, 0)
    edges, _ = mean_iou(registry.region_refiner("depth-edges"), views, 0)
    assert edges > max(0.85, boxes + 0.2)


def test_the_command_prints_the_figures_and_draws_the_regions(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["bench", "regions", "--layouts", "2", "--picture", "regions.png"])
    assert not end.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "boxes, exact depth",
        "boxes, blurred depth",
        "depth-edges, exact depth",
        "depth-edges, blurred depth",
        "regions.png",
    ]
    assert Image.open("regions.png").size == (4 * 132 - 4, 2 * 132 - 4)


def test_a_picture_that_cannot_be_written_is_refused_before_measuring(capsys, tmp_path) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "regions", "--picture", str(tmp_path / "sheet.nope")])
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "expected a name that ends in .png" in err
