"""Numbers and foreign texts on the page."""

from __future__ import annotations

import pytest

from threedis_core.compare.report import words
from threedis_core.compare.report.page import Difference, Figure

SHARE = Figure("mig.isr", "ISR")
MEAN = Figure("clip.global", "CLIP", unit="")


def test_a_share_is_written_times_100_and_others_as_they_are() -> None:
    assert words.amount(0.6287, SHARE) == "62.9"
    assert words.amount(27.123, MEAN) == "27.12"
    assert words.amount(None, SHARE) == "–"


def test_a_difference_has_its_sign_and_a_real_minus() -> None:
    assert words.difference(0.031, SHARE) == "+3.1"
    assert words.difference(-0.031, SHARE) == "−3.1"
    assert words.span(-0.009, 0.071, SHARE) == "−0.9 to 7.1"


@pytest.mark.parametrize(
    ("low", "high", "better", "said"),
    [
        (-0.1, 0.2, "higher", "not distinguished"),
        (0.1, 0.2, "higher", "better"),
        (0.1, 0.2, "lower", "worse"),
        (-0.2, -0.1, "lower", "better"),
        (None, None, "higher", "not distinguished"),
    ],
)
def test_an_interval_around_0_is_not_distinguished_and_never_equal(
    low: float | None, high: float | None, better: str, said: str
) -> None:
    value = 0.0 if low is None or high is None else (low + high) / 2
    figure = Figure("x.y", "Y", better="lower" if better == "lower" else "higher")
    assert words.verdict(Difference(value, low, high), figure) == said


def test_small_probabilities_are_bounded_not_rounded_to_0() -> None:
    assert words.probability(0.00002) == "p < 0.001"
    assert words.probability(0.0123) == "p = 0.012"
    assert words.probability(0.4167) == "p = 0.42"


def test_what_acts_in_a_text_is_written_as_an_escape_and_letters_stay() -> None:
    assert words.legible("a\x00b\x1b[31m\u202ec\ud800") == "a\\x00b\\x1b[31m\\u202ec\\ud800"
    kept = "سلام 你好 👩\u200d👩 é"
    assert words.legible(kept) == kept
    assert len(words.legible("x" * 5000, 100)) == 100


def test_seconds_and_memory_have_units() -> None:
    assert [words.seconds(s) for s in (0.0003, 0.413, 12.6, 200.0)] == [
        *("< 0.01 s", "0.41 s", "13 s", "3 min 20 s")
    ]
    assert [words.memory(m) for m in (3.25 * 2**30, 5 * 2**20, 12)] == [
        *("3.25 GiB", "5 MiB", "12 bytes")
    ]
