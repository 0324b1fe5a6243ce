"""The region plan of joint attention: which tokens there are, and which may see which.

Pure data: it knows no model and no kernel. Tokens come in the order [text; padding; image], or as
``TokenOrder`` says: the global prompt, the instances' prompts, padding, then the image row by row.

S tokens in all; N instances; C cells; (rows, columns) the image's token grid.

Source: 3DIS-FLUX (arXiv 2501.05131), the attention controls of its renderer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from threedis_core.attention.joint_controls import Bools, Kind, permitted
from threedis_core.errors import RenderError

Site = Literal["joint", "image", "text"]
"""Which tokens an attention sees: all of them, the image's alone, or the text's alone."""


@dataclass(frozen=True)
class TokenOrder:
    """Where a model keeps its tokens: [prefix; text; padding; image; suffix] if not image first.

    Args:
        image_first: True for [prefix; image; suffix; text; padding].
        prefix: Tokens in front of all others, which count as global text: a mode, say.
        suffix: Tokens right after the image, which count as its background: padding that the model
            has learned and attends to, say.
        text_multiple: What the tokens of each prompt are padded to a multiple of, if the model has
            learned such padding and attends to it; it counts as its prompt's text.
    """

    image_first: bool = False
    prefix: int = 0
    suffix: int = 0
    text_multiple: int = 1

    def padded(self, tokens: int) -> int:
        """The tokens of a prompt with its learned padding."""
        return -(-tokens // self.text_multiple) * self.text_multiple


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
            Padding that the model attends to belongs to its prompt.
        masks: Each instance's image tokens, bool, shape (N, rows, columns).
        padding: Text tokens after the last prompt that belong to nobody: only padding sees them,
            and they see only padding.
        order: Where the tokens are.
        site: Which of them there are.
    Raises:
        RenderError: The numbers do not fit together.
    """

    text_lengths: tuple[int, ...]
    masks: Bools
    padding: int = 0
    order: TokenOrder = TokenOrder()
    site: Site = "joint"
    tokens: int = field(init=False)
    """S, the number of all tokens."""
    cells: tuple[Cell, ...] = field(init=False)
    """The C cells: the prompts in order, the padding if any, the parts of the image; of a site
    those that are there."""
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
        image, labels = _image_cells(self.masks, self.order.suffix)
        others = [*text, *padding]
        texts = np.repeat(np.arange(len(others)), [cell.size for cell in others])
        if self.site == "joint":
            parts = [texts, len(others) + labels]
            # Tokens in front count as global text, which is cell 0.
            front = np.zeros(self.order.prefix, np.intp)
            labels = np.concatenate([front, *(parts[::-1] if self.order.image_first else parts)])
            image = [replace(others[0], size=others[0].size + len(front)), *others[1:], *image]
        elif self.site == "text":
            image, labels = others, texts
        object.__setattr__(self, "cells", tuple(image))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "tokens", len(labels))

    @property
    def text_tokens(self) -> int:
        """The number of text tokens, padding included."""
        return sum(self.text_lengths) + self.padding

    @property
    def image_tokens(self) -> int:
        """The number of image tokens."""
        return self.masks.shape[1] * self.masks.shape[2]

    @property
    def image_start(self) -> int:
        """The place of the first image token among all."""
        if self.site != "joint":
            return 0
        return self.order.prefix + (0 if self.order.image_first else self.text_tokens)

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
        return _sizes(self) == _sizes(other) and np.array_equal(self.masks, other.masks)

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


def _sizes(plan: JointPlan) -> tuple[object, ...]:
    return plan.text_lengths, plan.padding, plan.order, plan.site


def _image_cells(masks: Bools, suffix: int) -> tuple[list[Cell], NDArray[np.intp]]:
    """The image's cells, and for each image token, and those after it, which of them it is in."""
    rows, columns = masks.shape[1:]
    covered = masks.reshape(len(masks), rows * columns).astype(np.bool_)
    # Nothing is covered by prompt 0, the global one: it keeps the instances' numbers from 1.
    covered = np.pad(covered, ((1, 0), (0, suffix)))
    members, labels = np.unique(covered.T, axis=0, return_inverse=True)
    labels = labels.reshape(-1)
    cells = [
        Cell("image", frozenset(np.flatnonzero(row).tolist()), int(size))
        for row, size in zip(members, np.bincount(labels), strict=True)
    ]
    return cells, labels
