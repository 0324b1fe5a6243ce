from __future__ import annotations

import numpy as np
import pytest

from threedis_core import (
    DetectRequest,
    Figure,
    FoundBox,
    FoundMask,
    InstanceFinding,
    PictureScore,
    ScoreRequest,
)
from threedis_core.drawing.layout import draw_layout
from threedis_core.errors import RenderError
from threedis_core.plugin.judging.checks import checked_findings, checked_pool, checked_scores
from threedis_core.testing import sample_layout

LAYOUT = sample_layout(2)
PICTURE = draw_layout(LAYOUT, 64, 64)
DETECT = [DetectRequest(LAYOUT, PICTURE)]
SCORE = [ScoreRequest(LAYOUT, None, lambda: PICTURE)]
FIGURES = (
    Figure("right", "right", "How many are right.", key="hit"),
    Figure("all", "all", "Pictures in which all are right.", per="picture"),
    Figure("ap", "AP", "Pooled.", per="pooled"),
)
GOOD = InstanceFinding((FoundBox((0.1, 0.1, 1.02, 0.5), 0.9, "cube"),), (FoundMask(None, 0.3),))


def test_findings_and_scores_as_they_should_be_pass() -> None:
    assert checked_findings([(GOOD, InstanceFinding())], DETECT) == [(GOOD, InstanceFinding())]
    score = PictureScore(({"hit": True}, {"hit": None}), {"all": 0.0}, [1, "two"])
    assert checked_scores([score], SCORE, FIGURES) == [score]
    pooled = checked_pool({"ap": [0.5, 0.25]}, FIGURES, 2)
    assert np.array_equal(pooled["ap"], [0.5, 0.25])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "returned None; expected a list of tuple"),
        ([], "returned 0 results for 1 requests"),
        ([(GOOD,)], "returned 1 results for 2 requests"),
        ([(GOOD, None)], "returned None in its list; expected InstanceFinding"),
        ([(GOOD, InstanceFinding(((0, 0, 1, 1),)))], "expected FoundBox"),
        ([(GOOD, InstanceFinding((FoundBox((0, 0, 1, float("nan")), 1),)))], "nan"),
        ([(GOOD, InstanceFinding((FoundBox((0, 0, 1), 1),)))], r"found the box \(0, 0, 1\)"),
        ([(GOOD, InstanceFinding((), (FoundMask("x", 1),)))], "expected Mask or None"),
        ([(GOOD, InstanceFinding((), (), {"a": {1}}))], "cannot be written as JSON"),
    ],
)
def test_findings_that_cannot_be_stored_are_refused_and_named(found, told) -> None:
    with pytest.raises(RenderError, match=told):
        checked_findings(found, DETECT)


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (PictureScore(({"hit": 1},), {"all": 0}), "scored 1 of 2 instances"),
        (PictureScore(({"hit": 1}, {}), {"all": 0}), "no 'hit' per instance"),
        (PictureScore(({"hit": 1}, {"hit": 0})), "no 'all' per picture"),
        (PictureScore(({"hit": 1}, {"hit": 2}), {"all": 0}), "expected a share"),
        (PictureScore(({"hit": 1}, {"hit": float("inf")}), {"all": 0}), "finite"),
        (PictureScore(({"hit": 1}, {"hit": "yes"}), {"all": 0}), "finite"),
        (PictureScore(({"hit": 1}, {"hit": 0}), {"all": 0}, {1, 2}), "score's data"),
    ],
)
def test_scores_that_lack_a_figure_or_cannot_be_stored_are_refused(score, told) -> None:
    with pytest.raises(RenderError, match=told):
        checked_scores([score], SCORE, FIGURES)


@pytest.mark.parametrize("pooled", [{}, {"ap": [0.5]}, {"ap": 1.0}, [0.5, 0.5]])
def test_what_is_pooled_must_have_a_number_for_every_weighting(pooled) -> None:
    with pytest.raises(RenderError, match="pooled"):
        checked_pool(pooled, FIGURES, 2)
