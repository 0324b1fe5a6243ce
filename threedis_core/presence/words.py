"""What is said of instances that are not in the depth map, and which map is best."""

from __future__ import annotations

from collections.abc import Sequence

from threedis_core.presence.measure import SEEN
from threedis_core.values.layout import Layout
from threedis_core.values.problems import shown

FAINT = 0.15
"""Below this score nothing is there; between it and SEEN is something of another size."""
MADE = "try another --depth-seed, --depth-tries 4, or a larger box with less overlap"
OTHER_MAP = "see whether the depth map belongs to this layout, or move the box"


def missing_instances(
    layout: Layout, presence: Sequence[float | None], advice: str
) -> tuple[str, ...]:
    """A line for every instance that is not in its box, with what to do about it.

    Args:
        layout: What is where.
        presence: The score of each instance.
        advice: MADE or OTHER_MAP.
    """
    return tuple(
        f"instances[{number}] ({shown(instance.prompt)}) is likely missing: "
        f"{_found(score)} (presence {score:.2f}, expected at least {SEEN:g}); {advice}"
        for number, (instance, score) in enumerate(zip(layout.instances, presence, strict=True))
        if score is not None and score < SEEN
    )


def _found(score: float) -> str:
    if score < FAINT:
        return "nothing stands out in its box of the depth map"
    return "what stands out in its box of the depth map is much smaller or larger than the box"


def rank(presence: Sequence[float | None]) -> tuple[int, float]:
    """How good a depth map is: by how many instances it has, then by how well.

    Returns:
        Greater for a better map of the same layout.
    """
    scores = [score for score in presence if score is not None]
    return sum(score >= SEEN for score in scores), sum(scores)
