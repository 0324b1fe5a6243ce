"""What an error means for a task: that half of it may succeed, or that nothing of its kind can."""

from __future__ import annotations

from threedis_core.compare.work.tasks import Failure
from threedis_core.errors import ThreeDISError, WeightsError
from threedis_core.files.printable import printable
from threedis_core.plugin.failures import reason_of

LONGEST = 1000
OUT_OF_MEMORY = "out-of-memory"


def failure_of(error: BaseException) -> Failure:
    """What is to be recorded of an error."""
    code = error.code if isinstance(error, ThreeDISError) else "error"
    return Failure(
        printable(reason_of(error), LONGEST),
        code,
        out_of_memory=is_out_of_memory(error),
        for_all=isinstance(error, WeightsError),
    )


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether it was raised, at first, because memory ran out: the machine's or a device's."""
    while error is not None:
        if isinstance(error, ThreeDISError) and error.code == OUT_OF_MEMORY:
            return True
        # torch's own class, which nothing here imports
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        error = error.__cause__
    return False
