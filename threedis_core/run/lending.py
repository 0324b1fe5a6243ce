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
        """Yield ``backend`` with a model that is loaded already, if there is one; or an equal one.

        Args:
            backend: The backend that a run has planned with.
            who: What to call it: "renderer 'sd15'".
            warn: Told what is worth knowing, in one line.
        """
        ...


def share_a_load(one: Backend, other: Backend) -> bool:
    """True if either can work with the model that the other has loaded."""
    return type(one) is type(other) and one.load_key() == other.load_key()


@contextmanager
def with_model_of(owner: Backend, backend: BackendT) -> Generator[BackendT]:
    """Yield ``backend`` with the model of ``owner``, which gets it back at the end.

    Args:
        owner: It shares a load with ``backend``, and nobody else has it meanwhile.
        backend: What is to work. An equal owner works itself.
    """
    if owner.options == backend.options:
        yield cast("BackendT", owner)
        return
    backend.take_model(cast("BackendT", owner))
    try:
        yield backend
    finally:
        owner.take_model(backend)


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
        """Yield ``backend`` with the model of one that is here already, if it is the same."""
        for one in self._lent:
            if share_a_load(one, backend):
                with with_model_of(one, backend) as working:
                    yield working
                return
        taken = self._stack.enter_context(self._lender.lent(backend, who, warn))
        self._lent.append(taken)
        yield taken
