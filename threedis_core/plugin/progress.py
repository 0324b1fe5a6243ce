"""How long work tells how far it is, and shows what it has so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image

Arguments = ParamSpec("Arguments")


class Progress(Protocol):
    """Called by long work: ``progress("render", 3, 20)`` after 3 of 20 steps.

    What it raises ends the work: a backend lets it through, and works on as if nothing had been.
    """

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@runtime_checkable
class PreviewingProgress(Progress, Protocol):
    """A progress that shows pictures in the making, too; a renderer may leave them out.

    ``previews_every`` is how many steps lie between two of them. ``preview`` takes the place of a
    request among the requests, and how its picture looks by now: RGB, of any size.
    """

    previews_every: int

    def preview(self, index: int, picture: Image.Image) -> None: ...


def silent(stage: str, done: int, total: int) -> None:
    """A progress that shows nothing."""


class Watched:
    """Calls what a caller gave, and remembers what that raised, so that nobody can rename it.

    Once something was raised, every further call raises it again: it cannot be swallowed.

    Args:
        progress: What is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.raised: BaseException | None = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell how far the work is."""
        self.call(self._progress, stage, done, total)

    def call(
        self, function: Callable[Arguments, None], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> None:
        """Call something else that the caller gave, likewise."""
        self.check()
        try:
            function(*args, **kwargs)
        except BaseException as error:
            self.raised = error
            raise

    def check(self) -> None:
        """Raise what was raised before, if anything was."""
        if self.raised is not None:
            raise self.raised


def named(progress: Progress, who: str) -> Progress:
    """A progress that tells ``progress`` whose work each stage is."""

    def tell(stage: str, done: int, total: int) -> None:
        progress(f"{who}: {stage}", done, total)

    return tell


class NamedPreviews:
    """A progress that tells whose work each stage is, and shows previews.

    Args:
        progress: What is told.
        who: Whose work it is.
        every: Steps from preview to preview.
        show: Where previews go.
    """

    def __init__(
        self, progress: Progress, who: str, every: int, show: Callable[[int, Image.Image], None]
    ) -> None:
        self._tell = named(progress, who)
        self._show = show
        self.previews_every = every

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Tell how far the work is."""
        self._tell(stage, done, total)

    def preview(self, index: int, picture: Image.Image) -> None:
        """Show how the picture of request ``index`` looks by now."""
        self._show(index, picture)
