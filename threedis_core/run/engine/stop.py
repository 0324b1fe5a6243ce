"""What ends a run before its end: somebody's wish, or a deadline."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from threedis_core.errors import Cancelled, DeadlineExceeded


class Stop:
    """Asked at every step of a run whether it may go on; any thread may ask it to end.

    Args:
        deadline: Seconds from now until which the run must be done; None: it has all the time.
        asked: Called when somebody asks.
    """

    def __init__(
        self, deadline: float | None = None, asked: Callable[[], None] = lambda: None
    ) -> None:
        self._seconds = deadline
        self._end = None if deadline is None else monotonic() + deadline
        self._asked = False
        self._tell = asked

    def ask(self) -> None:
        """Let the run end at its next step."""
        self._asked = True
        self._tell()

    @property
    def remaining(self) -> float | None:
        """Seconds to the deadline, at least 0; None without one."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Cancelled: Somebody asked for the end.
            DeadlineExceeded: The time is over.
        """
        if self._asked:
            raise Cancelled("the run was cancelled")
        if self.remaining == 0:
            raise DeadlineExceeded(
                f"the run was not done within {self._seconds:g} seconds; give it more time, or ask "
                "for fewer pictures or steps"
            )
