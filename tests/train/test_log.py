"""The log of a training, and what is drawn of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from threedis_train.engine import Task, fit
from threedis_train.log import draw_curves, read_log
from threedis_train.settings import TrainingSettings

DAMAGED = [
    b"\x00\xff\xfe\x80garbage",
    b'{"loss": 1.0}',
    b'{"step": "three", "loss": 1.0}',
    b'{"step": true, "loss": 1.0}',
    b'{"step": 3, "loss": [1.0]}',
    b'{"step": 3, "loss": 1' + b"0" * 400 + b"}",
    b'{"step": 3, "loss": 1' + b"0" * 5000 + b"}",
    b"[3, 1.0]",
    b"3",
    b"[" * 100_000,
    b'{"step": 3, "lo',
]


@pytest.mark.parametrize("line", DAMAGED, ids=lambda line: line[:16].decode("latin-1"))
def test_lines_that_are_no_row_are_left_out_wherever_they_stand(
    tmp_path: Path, line: bytes
) -> None:
    good = [b'{"step": 1, "loss": 2.0, "time": 1.5}', b'{"step": 2, "loss": 1, "time": 2.5}']
    (tmp_path / "log.jsonl").write_bytes(b"\n".join([good[0], line, good[1], line]))
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2]
    assert draw_curves(tmp_path) == tmp_path / "loss.png"


def test_a_training_goes_on_with_a_damaged_log(
    make_task: Callable[..., Task], settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"schedule": "constant"})
    fit(make_task(), settings, tmp_path)
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b"\n".join(DAMAGED))
    fit(make_task(), settings.model_copy(update={"steps": 8}), tmp_path)
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len((tmp_path / "log.jsonl").read_bytes().splitlines()) == 8


def test_the_curve_is_a_picture_that_takes_the_place_of_the_one_before_at_once(
    tmp_path: Path,
) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (tmp_path / "loss.png").write_bytes(b"before")
    with (tmp_path / "loss.png").open("rb") as before:
        draw_curves(tmp_path)
        assert before.read() == b"before"  # what is written in place would show here
    with Image.open(tmp_path / "loss.png") as picture:
        picture.load()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "loss.png"]
