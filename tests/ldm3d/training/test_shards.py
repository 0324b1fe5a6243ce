"""The cache of one tensor per example."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from threedis_core.errors import DataError
from threedis_ldm3d.training.example import BadExample, Example
from threedis_ldm3d.training.shards import HEADER, ROWS, MadeExample, Shards

Examples = Callable[..., list[Example]]


class MeanColour:
    """Makes the mean colour of each picture; remembers what it was asked for."""

    def __init__(self, bad: Sequence[str] = (), fails_at: int | None = None) -> None:
        self.bad, self.fails_at = bad, fails_at
        self.asked: list[int] = []

    def __call__(self, number: int, examples: Sequence[Example]) -> MadeExample:
        self.asked.append(number)
        if number == self.fails_at:
            raise KeyboardInterrupt
        kept = [place for place, one in enumerate(examples) if one.name not in self.bad]
        rows = [np.asarray(Image.open(examples[place].image)).mean((0, 1)) for place in kept]
        bad = [BadExample(one.name, "ugly", "so it is") for one in examples if one.name in self.bad]
        return MadeExample(torch.tensor(np.array(rows)).reshape(-1, 3), kept, bad)


def built(folder: Path, examples: Sequence[Example], make: MeanColour | None = None) -> Shards:
    shards = Shards(folder, "mean colour", size=4)
    shards.build(examples, make or MeanColour())
    shards.open()
    return shards


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_rows_are_read_in_any_order_and_more_than_once(tmp_path: Path, examples: Examples) -> None:
    some = examples(10)
    shards = built(tmp_path / "cache", some)
    wanted = [9, 0, 5, 5, 3]
    expected = [np.asarray(Image.open(some[i].image)).mean((0, 1)) for i in wanted]
    assert torch.equal(shards.read(wanted), torch.tensor(np.array(expected)))
    assert len(shards) == 10
    assert shards.examples == tuple(some)


def test_what_is_there_is_not_made_again(tmp_path: Path, examples: Examples) -> None:
    some, make = examples(10), MeanColour()
    built(tmp_path / "cache", some, make)
    built(tmp_path / "cache", some, make)
    assert make.asked == [0, 1, 2]


def test_building_goes_on_where_it_broke(tmp_path: Path, examples: Examples) -> None:
    some, rest = examples(14), MeanColour()
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path / "cache", some, MeanColour(fails_at=2))
    shards = built(tmp_path / "cache", some, rest)
    assert rest.asked == [2, 3]
    assert content(shards.folder) == content(built(tmp_path / "unbroken", some).folder)


def test_building_goes_on_after_a_kill(tmp_path: Path, examples: Examples) -> None:
    some, rest = examples(14), MeanColour()

    def killed(number: int, examples: Sequence[Example]) -> MadeExample:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return MeanColour()(number, examples)

    if (child := os.fork()) == 0:
        Shards(tmp_path / "cache", "mean colour", size=4).build(some, killed)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    shards = built(tmp_path / "cache", some, rest)
    assert rest.asked == [2, 3]
    assert content(shards.folder) == content(built(tmp_path / "unbroken", some).folder)


def test_a_shard_without_its_checksum_is_not_finished(tmp_path: Path, examples: Examples) -> None:
    some, make = examples(8), MeanColour()
    (built(tmp_path / "cache", some).folder / "shard-00001.sha256").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        built(tmp_path / "cache", some, make)
    assert make.asked == [1]


def test_a_corrupt_shard_is_made_again_and_said(tmp_path: Path, examples: Examples) -> None:
    some, make = examples(8), MeanColour()
    shards = built(tmp_path / "cache", some)
    before = content(shards.folder)
    file = shards.folder / "shard-00001.safetensors"
    spoilt = bytearray(file.read_bytes())
    spoilt[-1] ^= 1
    file.write_bytes(spoilt)
    with pytest.warns(UserWarning, match=r"shard-00001\.safetensors: corrupt"):
        built(tmp_path / "cache", some, make)
    assert make.asked == [1]
    assert content(shards.folder) == before


def foreign(header: object, rows: int = 4) -> bytes:
    return save({ROWS: torch.zeros(rows, 3)}, {HEADER: json.dumps(header)})


@pytest.mark.parametrize(
    "make_content",
    [
        lambda own: b"\x00garbage",
        lambda own: pickle.dumps([1]),
        lambda own: save({"weight": torch.zeros(2)}),
        lambda own: save({ROWS: torch.zeros(4, 3)}, {HEADER: "{no JSON"}),
        lambda own: foreign([1, 2]),
        lambda own: foreign({**own, "fingerprint": "median colour"}),
        lambda own: foreign({k: v for k, v in own.items() if k != "bad"}),
        lambda own: foreign({**own, "bad": [{"name": "x"}]}),
        lambda own: foreign({**own, "bad": [{"name": [], "kind": {}, "detail": 3}]}),
        lambda own: foreign({**own, "kept": [0, 1, 2, 99]}),
        lambda own: foreign({**own, "kept": ["a"] * 4}),
        lambda own: foreign({**own, "kept": None}),
        lambda own: foreign(own, rows=3),
        lambda own: save({"rows": torch.tensor(1.0)}, {HEADER: json.dumps(own)}),
    ],
)
def test_a_file_of_something_else_is_made_again_though_its_checksum_is_right(
    tmp_path: Path, examples: Examples, make_content: Callable[[dict], bytes]
) -> None:
    some, make = examples(8), MeanColour()
    shards = built(tmp_path / "cache", some)
    before, file = content(shards.folder), shards.folder / "shard-00001.safetensors"
    with safe_open(file, "pt") as opened:
        own = json.loads(opened.metadata()[HEADER])
    file.write_bytes(make_content(own))
    line = f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
    file.with_suffix(".sha256").write_text(line)
    with pytest.raises(DataError, match=r"shard-00001\.safetensors: not built"):
        shards.open()
    built(tmp_path / "cache", some, make)
    assert make.asked == [1]
    assert content(shards.folder) == before


def test_a_shard_that_goes_while_it_is_read_is_one_line(tmp_path: Path, examples: Examples) -> None:
    shards = built(tmp_path / "cache", examples(8))
    file = shards.folder / "shard-00001.safetensors"
    for spoil in (lambda: file.write_bytes(b"half"), file.unlink):
        spoil()
        with pytest.raises(DataError, match=r"shard-00001\.safetensors: cannot be read any more"):
            shards.read([5])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this machine")
def test_the_checksums_are_those_of_sha256sum(tmp_path: Path, examples: Examples) -> None:
    folder = built(tmp_path / "cache", examples(8)).folder
    run = subprocess.run(["sha256sum", "-c", "shard-00001.sha256"], cwd=folder, check=False)
    assert run.returncode == 0


def test_only_shards_whose_examples_changed_are_made_again(
    tmp_path: Path, examples: Examples
) -> None:
    some, make = examples(10), MeanColour()
    built(tmp_path / "cache", some)
    os.utime(some[5].image, ns=(1, 1))
    shards = built(tmp_path / "cache", some, make)
    assert make.asked == [1]
    renamed = [*some[:9], replace(some[9], name="other")]
    assert built(tmp_path / "cache", renamed, make).examples[-1].name == "other"
    assert make.asked == [1, 2]
    assert len(shards) == 10


def test_another_fingerprint_makes_all_again(tmp_path: Path, examples: Examples) -> None:
    some, make = examples(6), MeanColour()
    built(tmp_path / "cache", some)
    Shards(tmp_path / "cache", "median colour", size=4).build(some, make)
    assert make.asked == [0, 1]


def test_two_processes_make_what_one_makes(tmp_path: Path, examples: Examples) -> None:
    some, makes = examples(18), (MeanColour(), MeanColour())
    parts = [Shards(tmp_path / "cache", "mean colour", size=4) for _ in makes]
    for rank, make in enumerate(makes):
        parts[rank].build(some, make, rank=rank, world=2)
    assert [make.asked for make in makes] == [[0, 2, 4], [1, 3]]
    one = built(tmp_path / "one", some)
    assert content(parts[0].folder) == content(one.folder)
    parts[1].open()
    assert torch.equal(parts[1].read(range(18)), one.read(range(18)))


def test_reading_waits_for_every_process(tmp_path: Path, examples: Examples) -> None:
    shards = Shards(tmp_path / "cache", "mean colour", size=4)
    shards.build(examples(10), MeanColour(), rank=0, world=2)
    with pytest.raises(DataError, match=r"shard-00001\.safetensors: not built; .* wait"):
        shards.open()


def test_bad_examples_are_left_out_for_good(tmp_path: Path, examples: Examples) -> None:
    some = examples(10)
    built(tmp_path / "cache", some, MeanColour(bad=["1", "4", "5", "6", "7"]))
    shards = built(tmp_path / "cache", some)
    assert [one.name for one in shards.examples] == ["0", "2", "3", "8", "9"]
    assert [one.name for one in shards.bad] == ["1", "4", "5", "6", "7"]
    assert shards.bad[0] == BadExample("1", "ugly", "so it is")
    expected = np.asarray(Image.open(some[8].image)).mean((0, 1))
    assert shards.read([3])[0].numpy() == pytest.approx(expected)


def test_progress_counts_the_examples_of_this_process(tmp_path: Path, examples: Examples) -> None:
    told: list[tuple[str, int, int]] = []
    shards = Shards(tmp_path / "cache", "mean colour", size=4)
    shards.build(examples(10), MeanColour(), lambda *step: told.append(step), rank=0, world=2)
    assert told == [("cache", 4, 6), ("cache", 6, 6)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, examples: Examples) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        built(tmp_path / "file" / "cache", examples(2))
