"""Where everything of a comparison lies, and what of it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from threedis_core.compare.plan.models import ComparePlan
from threedis_core.errors import OptionError
from threedis_core.files.printable import printable

PLAN = "plan.json"
DEPTH, RENDER = "depth", "render"
"""Names of stages, as events and failures tell them; others are "detect-NAME", "score-NAME"."""


def detect_stage(detector: str) -> str:
    """The stage in which a detector looks at the pictures."""
    return f"detect-{detector}"


def score_stage(metric: str) -> str:
    """The stage in which a metric scores the pictures."""
    return f"score-{metric}"


@dataclass(frozen=True)
class CompareFolder:
    """The folder of a comparison. A file that is there is complete: each appears by a rename.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The frozen plan."""
        return self.path / PLAN

    def depth(self, key: str) -> Path:
        """A depth map, by its key."""
        return self.path / "depth" / f"{key}.png"

    def picture(self, key: str) -> Path:
        """A picture, by its job's key."""
        return self.path / "pictures" / f"{key}.png"

    def detection(self, detector: str, key: str) -> Path:
        """What a detector found in a picture, by the picture's key."""
        return self.path / "detections" / detector / f"{key}.json"

    def score(self, metric: str, key: str) -> Path:
        """What a metric says of a picture, by the picture's key."""
        return self.path / "scores" / metric / f"{key}.json"

    def failure(self, stage: str, key: str) -> Path:
        """Why a job failed in a stage: {"error", "code", "attempts"}; it is there if it did."""
        return self.path / "failures" / stage / f"{key}.json"

    @property
    def results_csv(self) -> Path:
        """A line for each picture and instance."""
        return self.path / "results.csv"

    @property
    def results_parquet(self) -> Path:
        """The same as Parquet."""
        return self.path / "results.parquet"

    @property
    def summary(self) -> Path:
        """All figures with their intervals."""
        return self.path / "summary.json"

    @property
    def table_md(self) -> Path:
        """The table in Markdown."""
        return self.path / "table.md"

    @property
    def table_tex(self) -> Path:
        """The table in LaTeX."""
        return self.path / "table.tex"

    def read_plan(self) -> ComparePlan:
        """Read the frozen plan.

        Raises:
            OptionError: There is none, or it cannot be read.
        """
        try:
            return ComparePlan.model_validate_json(self.plan.read_bytes())
        except FileNotFoundError:
            raise OptionError(
                f"{printable(self.path)} holds no comparison: there is no {PLAN} in it; name the "
                "folder of one, or a config",
                code="file-not-found",
                file=self.plan,
            ) from None
        except OSError as error:
            raise OptionError(
                f"{printable(self.plan)} cannot be read: {error.strerror}",
                code="file-unreadable",
                file=self.plan,
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            raise OptionError(
                f"{printable(self.plan)} is no plan that this ThreeDIS reads: "
                f"{'.'.join(map(str, first['loc']))}: {printable(first['msg'], 200)}",
                code="file-unreadable",
                file=self.plan,
            ) from None

    def read_events(self) -> Iterator[dict[str, Any]]:
        """What all writers have told, each in its order; a torn line is left out.

        Events inform, they decide nothing: a picture that is there is done. Each has ``kind``
        ("started", "done", "failed", "died", ...), ``stage`` and ``time``; those of jobs ``job``,
        and when done ``seconds`` that all that were made with it took (by part: "loading",
        "rendering", ...), how many that were (``size``) and ``memory`` in bytes.
        """
        for file in sorted((self.path / "events").glob("*.jsonl")):
            for line in file.read_bytes().splitlines():
                try:
                    event: object = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield cast("dict[str, Any]", event)
