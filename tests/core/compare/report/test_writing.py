"""How the page gets to the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from threedis_core.compare.report import thumbnails, write_report, writing
from threedis_core.compare.report.reading import read_report
from threedis_core.errors import OptionError

Make = Callable[..., Any]


def test_with_many_pictures_the_page_is_a_folder(
    comparison: Make, look: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = comparison()
    assert write_report(made.folder.path).name == "report.html"
    monkeypatch.setattr(writing, "MOST_INLINE", 8)  # there are 9
    file = write_report(made.folder.path)
    assert file == made.folder.path / "report" / "index.html"
    assert len(list((file.parent / "thumbnails").glob("*.webp"))) == 9
    assert not (made.folder.path / "report.html").exists()
    page = look(file)
    page.locator("#row-2 .shot button").first.click()
    page.wait_for_function(
        "document.querySelector('#viewer .shot img').src.endsWith('pictures/job0-2-0.png')"
    )
    monkeypatch.undo()
    assert write_report(made.folder.path).name == "report.html"
    assert not (made.folder.path / "report").exists()


def test_a_folder_of_somebody_else_is_not_replaced(comparison: Make) -> None:
    made = comparison()
    mine = made.folder.path / "report" / "my notes.txt"
    mine.parent.mkdir()
    mine.write_text("keep me")
    with pytest.raises(OptionError, match="my notes"):
        write_report(made.folder.path)
    assert mine.read_text() == "keep me"


def test_a_page_that_cannot_be_finished_leaves_the_old_one(
    comparison: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = comparison()
    file = write_report(made.folder.path)
    before, names = file.read_bytes(), sorted(made.folder.path.iterdir())

    def stop(stage: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(made.folder.path, stop)
    assert file.read_bytes() == before
    assert sorted(made.folder.path.iterdir()) == names


def test_the_same_folder_gives_the_same_page(comparison: Make) -> None:
    made = comparison()
    first = write_report(made.folder.path).read_bytes()
    assert write_report(made.folder.path).read_bytes() == first


def test_progress_counts_every_picture(comparison: Make) -> None:
    told: list[tuple[str, int, int]] = []
    write_report(comparison().folder.path, lambda *step: told.append(step))
    assert told[-1] == ("report", 9, 9)
    assert len(told) == 9


def test_a_large_picture_becomes_small_and_its_bytes_are_bounded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (700, 1400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    data = thumbnails.thumbnail(tmp_path / "a.png")
    assert data is not None
    (tmp_path / "b.webp").write_bytes(data)
    assert Image.open(tmp_path / "b.webp").size == (224, 112)
    assert len(data) < 2 * thumbnails.MOST_BYTES


def test_depth_of_16_bits_is_scaled_not_clipped(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "depth.png")
    data = thumbnails.thumbnail(tmp_path / "depth.png")
    assert data is not None
    (tmp_path / "b.webp").write_bytes(data)
    grey = np.asarray(Image.open(tmp_path / "b.webp").convert("L"), dtype=float)
    assert grey[0].mean() < 10
    assert grey[32].mean() == pytest.approx(128, abs=6)
    assert grey[-1].mean() > 245


def test_charts_and_texts_of_figures_survive_a_report_without_figures(comparison: Make) -> None:
    made = comparison()
    made.summarise(figures=[], metrics=[])
    assert read_report(made.folder.path).cells == []
    assert write_report(made.folder.path).is_file()
