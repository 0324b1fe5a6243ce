"""Where the memory is too small for a batch, half of it is rendered at a time."""

from __future__ import annotations

import json
from typing import Never

import numpy as np
import pytest

from threedis_core import RenderError, RenderResult, render
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def test_half_at_a_time_is_rendered_marked_and_the_same_otherwise(extras, small, tmp_path) -> None:
    asked = {"depth": DEPTH, "seeds": range(5), "batch_size": 4, "registry": extras}
    run = render(LAYOUT, renderers=["small"], out=tmp_path / "run", **asked)
    assert small.tried == [4, 2, 2, 1]
    whole = render(LAYOUT, renderers=["fake"], **asked)
    for made, wanted in zip(run.images, whole.images, strict=True):
        assert np.array_equal(np.asarray(made.image), np.asarray(wanted.image))
    marked = ["2 at a time" in " ".join(image.warnings) for image in run.images]
    assert marked == [True] * 4 + [False]
    assert any("too small for 4 pictures at once" in line for line in run.warnings)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    told = [" ".join(image["warnings"]) for image in record["images"]]
    assert ["2 at a time" in line for line in told] == marked


def test_what_is_finished_is_kept_when_even_one_picture_is_too_much(
    extras, small, tmp_path, monkeypatch
) -> None:
    def render_few(self, requests, progress=None) -> list[RenderResult]:
        if any(request.seed == 3 for request in requests):
            raise RenderError("no room", code="out-of-memory")
        return fine(self, requests)

    fine = small.render
    monkeypatch.setattr(small, "render", render_few)
    with pytest.raises(RenderError, match="no room"):
        render(
            LAYOUT,
            depth=DEPTH,
            seeds=range(4),
            renderers=["small"],
            registry=extras,
            out=tmp_path / "run",
        )
    names = {path.name for path in (tmp_path / "run").glob("small-*.png")}
    assert names == {"small-seed0.png", "small-seed1.png", "small-seed2.png"}


def test_another_failure_is_not_tried_again(extras, small, monkeypatch) -> None:
    def fail(self, requests, progress=None) -> Never:
        small.tried.append(len(requests))
        raise RenderError("broken")

    monkeypatch.setattr(small, "render", fail)
    with pytest.raises(RenderError, match="broken"):
        render(LAYOUT, depth=DEPTH, seeds=range(4), renderers=["small"], registry=extras)
    assert small.tried == [4]
