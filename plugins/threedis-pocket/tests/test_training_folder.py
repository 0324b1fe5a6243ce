"""Pocket scenes as training data in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import threedis_pocket
from threedis_core.errors import DataError
from threedis_core.values.depth import DepthMap
from threedis_ldm3d.training.examples import FolderData, read_examples
from threedis_pocket.layouts import scene_layout
from threedis_pocket.scenes import sample_scenes
from threedis_pocket.training_folder import write_scenes
from threedis_pocket.world import draw

torch.set_num_threads(1)

SIZE = 24


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_scenes_are_read_as_they_were_drawn(tmp_path: Path) -> None:
    write_scenes(tmp_path, "validation", 70, SIZE)
    found = read_examples(FolderData(format="folder", path=tmp_path))
    assert (len(found.examples), found.bad) == (70, ())
    scenes = sample_scenes("validation", 70)
    drawing = draw(scenes, SIZE, SIZE)
    for number in (0, 63, 64, 69):
        example = found.examples[number]
        assert example.layout == scene_layout(scenes, number)
        depth = DepthMap.load(example.depth).values
        assert np.abs(depth - drawing.depth[number].numpy()).max() <= 0.5001 / 65535
        rgb = np.asarray(Image.open(example.image)) / 255
        assert np.abs(rgb - drawing.rgb[number].permute(1, 2, 0).numpy()).max() <= 0.501 / 255


def test_writing_goes_on_where_a_kill_cut_it_off(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write_scenes(whole, "train", 70, SIZE)
    cut = tmp_path / "cut"
    write_scenes(cut, "train", 64, SIZE)
    ledger = cut / "examples.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-10])
    (cut / "images" / "train-24px-000063.png").write_bytes(b"half a pic")
    told: list[tuple[str, int, int]] = []
    write_scenes(cut, "train", 70, SIZE, lambda *step: told.append(step))
    assert told == [("scenes", 64, 70), ("scenes", 70, 70)]
    assert content(cut) == content(whole)


def test_a_folder_of_other_scenes_is_left_alone(tmp_path: Path) -> None:
    write_scenes(tmp_path, "train", 3, SIZE)
    before = content(tmp_path)
    for split, size in (("test", SIZE), ("train", 16)):
        with pytest.raises(DataError, match=r"examples\.jsonl: line 1 is not scene .* new folder"):
            write_scenes(tmp_path, split, 3, size)
    assert content(tmp_path) == before


def test_the_command_writes_them_and_says_where(tmp_path: Path) -> None:
    app = typer.Typer()
    threedis_pocket.threedis_register_commands(app, typer.Typer())
    out = tmp_path / "scenes"
    arguments = ["pocket", "scenes", str(out), "--split", "test", "--count", "2", "--size", "16"]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.output) == (0, f"{out / 'examples.jsonl'}\n")
    assert sorted(file.name for file in (out / "depth").iterdir()) == [
        "test-16px-000000.png",
        "test-16px-000001.png",
    ]
