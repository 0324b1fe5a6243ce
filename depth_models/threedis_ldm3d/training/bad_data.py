"""Say which examples cannot be used and why, and whether they are too many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from threedis_core.errors import DataError
from threedis_core.files.atomic import write_atomically
from threedis_ldm3d.training.example import BadExample, FoundExamples

SHOWN = 5
"""Names that the table gives of a kind; the file has all of them."""


class BadDataReport:
    """What is wrong with the data of a training.

    Args:
        found: What reading the data found.
        unusable: Examples among those found that turned out bad when they were opened.
    """

    def __init__(self, found: FoundExamples, unusable: Sequence[BadExample] = ()) -> None:
        self.bad = (*found.bad, *unusable)
        self.total = len(found.examples) + len(found.bad)
        """Examples that the data has, good and bad."""

    @property
    def share(self) -> float:
        """Bad examples of all, in [0, 1]."""
        return len(self.bad) / self.total if self.total else 0.0

    def kinds(self) -> dict[str, list[BadExample]]:
        """The bad examples of each kind, the most frequent first."""
        kinds: dict[str, list[BadExample]] = {}
        for example in self.bad:
            kinds.setdefault(example.kind, []).append(example)
        return dict(sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])))

    def table(self) -> str:
        """Kinds, how many there are of each, and some names; one line if nothing is bad."""
        summary = f"{len(self.bad)} of {self.total} examples cannot be used"
        kinds = self.kinds()
        width = max((len(kind) for kind in kinds), default=0)
        lines = [
            f"  {kind:{width}}  {len(examples):6}  {_some_names(examples)}"
            for kind, examples in kinds.items()
        ]
        return "\n".join([summary, *lines])

    def write(self, path: str | Path) -> None:
        """Write all bad examples, with what was found, as JSON.

        Raises:
            DataError: The file cannot be written.
        """
        document = {
            "examples": self.total,
            "bad": len(self.bad),
            "kinds": {kind: len(examples) for kind, examples in self.kinds().items()},
            "list": [asdict(example) for example in self.bad],
        }
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(document, indent=1, ensure_ascii=False)
            write_atomically(path, (text + "\n").encode())
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror}") from error

    def check(self, limit: float, path: str | Path) -> None:
        """See that enough of the data can be used.

        Args:
            limit: Greatest share of bad examples, in [0, 1].
            path: Where the report was written, for the message.
        Raises:
            DataError: There is nothing to learn from, or the share is above the limit.
        """
        if self.total == 0:
            raise DataError("the data has no examples; check its paths")
        most = next(iter(self.kinds()), "")
        if self.share > limit or len(self.bad) == self.total:
            raise DataError(
                f"{len(self.bad)} of {self.total} examples ({self.share:.1%}) cannot be used, "
                f"most often for '{most}'; expected at most {limit:.1%}. {path} lists them: mend "
                "or remove them, or raise the limit"
            )


def _some_names(examples: Sequence[BadExample]) -> str:
    names = ", ".join(example.name for example in examples[:SHOWN])
    return names if len(examples) <= SHOWN else f"{names}, ..."
