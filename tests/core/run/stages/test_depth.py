from __future__ import annotations

import pytest

from threedis_core import (
    LayoutError,
    OptionError,
    render,
)
from threedis_core.testing import sample_depth, sample_layout

LAYOUT = sample_layout(2)
DEPTH = sample_depth(LAYOUT, 64, 64)


def test_a_depth_model_that_was_asked_for_fails_with_its_own_words(extras) -> None:
    with pytest.raises(LayoutError, match=r"^instances\[0\] is no solid$"):
        render(LAYOUT, depth_model="picky", renderers=["fake"], registry=extras)


def test_a_default_depth_model_that_does_not_fit_asks_for_a_depth_map(extras, monkeypatch) -> None:
    monkeypatch.setattr("threedis_core.run.depth_plan.DEFAULT_DEPTH_MODEL", "picky")
    with pytest.raises(OptionError, match=r"--depth FILE.*'picky', cannot draw it: instances"):
        render(LAYOUT, renderers=["fake"], registry=extras)
