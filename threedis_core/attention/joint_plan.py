"""The region plan of joint attention: which tokens there are, and which may see which.

Pure data: it knows no model and no kernel. Tokens come in the order [text; padding; image]: the
global prompt, the instances' prompts, padding, then the image row by row.

S tokens in all; N instances; C cells; (rows, columns) the image's token grid.

Source: 3DIS-FLUX (arXiv 2501.05131), the attention controls of its renderer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from threedis_core.attention.joint_controls import Bools, Kind, permitted
from threedis_core.errors import RenderError


@dataclass(frozen=True)
class Cell:
    """Tokens that are alike to every rule.

    Args:
        kind: A prompt's text, the padding of the text, or a part of the image.
        members: Of a text its own number (0 is the global prompt, then the instances from 1); of a
            part of the image the numbers of the instances that cover it, none for the background.
        size: How many tokens it has.
    """

    kind: Kind
    members: frozenset[int]
    size: int


@dataclass(frozen=True, eq=False)
class JointPlan:
    """Who may attend to whom in one picture.

    Args:
        text_lengths: Tokens of each prompt, each >= 1: the global prompt, then the N instances.
        masks: Each instance's image tokens, bool, shape (N, rows, columns).
        padding: Text tokens after the last prompt that belong to nobody: only padding sees them,
            and they see only padding.
    Raises:
        RenderError: The numbers do not fit together.
    """

    text_lengths: tuple[int, ...]
    masks: Bools
    padding: int = 0
    tokens: int = field(init=False)
    """S, the number of all tokens."""
    cells: tuple[Cell, ...] = field(init=False)
    """The C cells: the prompts in order, the padding if any, the parts of the image."""
    labels: NDArray[np.intp] = field(init=False)
    """The number of the cell each token is in, shape (S,), in token order."""

    def __post_init__(self) -> None:
        if self.masks.ndim != 3 or len(self.masks) + 1 != len(self.text_lengths):
            raise RenderError(
                f"a plan got {len(self.text_lengths)} prompts and masks of shape "
                f"{self.masks.shape}; expected the global prompt and one per instance, and "
                "masks of shape (instances, rows, columns)"
            )
        if min(self.text_lengths) < 1 or self.padding < 0 or self.image_tokens < 1:
            raise RenderError(
                f"a plan got prompts of {self.text_lengths} tokens, {self.padding} of padding and "
                f"{self.image_tokens} image tokens; expected at least 1, 0 and 1"
            )
        text = [Cell("text", frozenset({i}), size) for i, size in enumerate(self.text_lengths)]
        padding = [Cell("padding", frozenset(), self.padding)] if self.padding else []
        image, parts = _image_cells(self.masks)
        others = [*text, *padding]
        labels = np.repeat(np.arange(len(others)), [cell.size for cell in others])
        object.__setattr__(self, "cells", (*others, *image))
        object.__setattr__(self, "labels", np.concatenate([labels, len(others) + parts]))
        object.__setattr__(self, "tokens", self.text_tokens + self.image_tokens)

    @property
    def text_tokens(self) -> int:
        """The number of text tokens, padding included."""
        return sum(self.text_lengths) + self.padding

    @property
    def image_tokens(self) -> int:
        """The number of image tokens."""
        return self.masks.shape[1] * self.masks.shape[2]

    def padded(self, text_tokens: int) -> JointPlan:
        """This plan with its text padded to ``text_tokens``.

        Raises:
            RenderError: The text is longer than that.
        """
        if text_tokens < self.text_tokens:
            raise RenderError(
                f"cannot pad a text of {self.text_tokens} tokens to {text_tokens}; expected more"
            )
        return replace(self, padding=self.padding + text_tokens - self.text_tokens)

    def same_as(self, other: JointPlan) -> bool:
        """Whether both say the same of every token."""
        return (self.text_lengths, self.padding) == (
            other.text_lengths,
            other.padding,
        ) and np.array_equal(self.masks, other.masks)

    def permissions(self, controls: frozenset[str]) -> Bools:
        """Whether the tokens of one cell (row) may see those of another, shape (C, C).

        The rules of the controls are those of ``permitted``. No row is ever empty: a token always
        sees its own cell.

        Raises:
            OptionError: A control that does not exist.
        """
        members = np.zeros((len(self.cells), len(self.text_lengths)), np.int64)
        for row, cell in zip(members, self.cells, strict=True):
            row[list(cell.members)] = 1
        return permitted(members > 0, [cell.kind for cell in self.cells], controls)


def _image_cells(masks: Bools) -> tuple[list[Cell], NDArray[np.intp]]:
    """The image's cells, and for each image token which of them it is in."""
    rows, columns = masks.shape[1:]
    covered = masks.reshape(len(masks), rows * columns).astype(np.bool_)
    # Nothing is covered by prompt 0, the global one: it keeps the instances' numbers from 1.
    covered = np.concatenate([np.zeros((1, rows * columns), np.bool_), covered])
    members, labels = np.unique(covered.T, axis=0, return_inverse=True)
    labels = labels.reshape(-1)
    cells = [
        Cell("image", frozenset(np.flatnonzero(row).tolist()), int(size))
        for row, size in zip(members, np.bincount(labels), strict=True)
    ]
    return cells, labels
