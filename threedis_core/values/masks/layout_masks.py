"""The masks of one layout: read from files, and bounded all together."""

from __future__ import annotations

from pathlib import Path

from threedis_core.errors import LayoutError
from threedis_core.files.limits import MAX_MASK_LETTERS, MAX_MASK_PIXELS
from threedis_core.values.masks.mask import Mask


class MaskTotal:
    """How much the masks of one layout hold together."""

    def __init__(self) -> None:
        self._count = self._pixels = self._letters = 0

    def add(self, mask: Mask) -> None:
        """Count one more mask.

        Raises:
            LayoutError: Together they have more pixels, or longer codes, than one layout may.
        """
        self._count += 1
        self._letters += len(mask.counts)
        self.add_pixels(mask.height * mask.width)
        if self._letters > MAX_MASK_LETTERS:
            raise LayoutError(
                f"the codes of {self._count} masks have {self._letters} letters together; expected "
                f"at most {MAX_MASK_LETTERS}: smooth the masks or make them smaller"
            )

    def add_pixels(self, pixels: int) -> None:
        """Count the pixels of one more mask, before it is made.

        Raises:
            LayoutError: Together they have more than one layout may.
        """
        self._pixels += pixels
        if self._pixels > MAX_MASK_PIXELS:
            raise LayoutError(
                f"all masks have {self._pixels} pixels or more together; expected at most "
                f"{MAX_MASK_PIXELS}, such as 8 masks of 8192x8192: make them smaller"
            )


class MaskFiles:
    """Reads the mask pictures that one layout names.

    Args:
        folder: Where relative paths start; None: no file is read.
    """

    def __init__(self, folder: str | Path | None = ".") -> None:
        self._folder = None if folder is None else Path(folder)
        self._total = MaskTotal()
        self._failed = False

    def read(self, path: str | Path) -> Mask | None:
        """Read one mask; None once another could not be read: the layout is refused anyway.

        Raises:
            LayoutError: The mask cannot be read, or all masks together are too large.
        """
        if self._failed:
            return None
        if self._folder is None:
            raise LayoutError("it is the name of a file; expected the mask itself, as run lengths")
        self._failed = True
        mask = Mask.load(self._folder / path)
        self._total.add(mask)
        self._failed = False
        return mask
