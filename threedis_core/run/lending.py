"""Where the stages of a run get their backends from, and what becomes of these afterwards."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, TypeVar, cast

from threedis_core.plugin.failures import closing_named
from threedis_core.plugin.interfaces import Backend

BackendT = TypeVar("BackendT", bound=Backend)


class Lender(Protocol):
    """Gives out backends, each one to one caller at a time."""

    def lent(
        self, backend: BackendT, who: str, warn: Callable[[str], None]
    ) -> AbstractContextManager[BackendT]:
        """Yield ``backend``, or an equal one that has its model loaded already.

        Args:
            backend: The backend that a run has planned with.
            who: What to call it: "renderer 'sd15'".
            warn: Told what is worth knowing, in one line.
        """
        ...


class ClosedAfterUse:
    """Lends each backend itself, and closes it as soon as it is back."""

    @contextmanager
    def lent(self, backend: BackendT, who: str, warn: Callable[[str], None]) -> Generator[BackendT]:
        """Yield ``backend``, and close it at the end."""
        with closing_named(backend, who, warn):
            yield backend


class Sharing:
    """Lends on what another lender lends, and gives it back when all have had it."""

    def __init__(self, lender: Lender, stack: ExitStack) -> None:
        self._lender, self._stack = lender, stack
        self._lent: list[Backend] = []

    @classmethod
    @contextmanager
    def of(cls, lender: Lender) -> Generator[Sharing]:
        """Share what ``lender`` lends, until the end of the block."""
        with ExitStack() as stack:
            yield cls(lender, stack)

    @contextmanager
    def lent(self, backend: BackendT, who: str, warn: Callable[[str], None]) -> Generator[BackendT]:
        """Yield ``backend``, or an equal one that is here already."""
        for one in self._lent:
            if type(one) is type(backend) and one.options == backend.options:
                yield cast("BackendT", one)
                return
        taken = self._stack.enter_context(self._lender.lent(backend, who, warn))
        self._lent.append(taken)
        yield taken
