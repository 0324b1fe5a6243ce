"""What every lowering of the region plan gives: a callable that does the attention.

B pictures, H heads, S tokens in the plan's order, d channels of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from threedis_core.errors import RenderError


class JointAttention(ABC):
    """Attention in which every token sees what its picture's plan permits, and nothing else.

    Args:
        pictures: B, the number of plans it was made of.
        tokens: S, the tokens of each.

    Attributes:
        lowering: The name of the way it is computed: dense, segments, block_mask.
        order: How the caller must arrange the image tokens at the model's input, or None: as they
            are. Long, shape (B, image tokens): place i takes token ``order[b, i]``, in the latents
            and in the position ids alike; the model's output is to be put back. The text stays
            where it is.
    """

    lowering: ClassVar[str]
    order: Tensor | None = None

    def __init__(self, pictures: int, tokens: int) -> None:
        self.pictures = pictures
        self.tokens = tokens

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend: all of shape (B, H, S, d), of one dtype; scores are scaled by d**-0.5.

        Raises:
            RenderError: Another number of pictures or of tokens than the plans have.
        """
        got = (query.shape[0], query.shape[2])
        if got != (self.pictures, self.tokens):
            raise RenderError(
                f"the region plan is for {self.pictures} pictures of {self.tokens} tokens, but an "
                f"attention layer got {got[0]} of {got[1]}; the hook cannot serve this model call"
            )
        return self.attend(query, key, value)

    @abstractmethod
    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Do the attention, on shapes that are known to fit."""

    @abstractmethod
    def tensors(self) -> Iterable[Tensor]:
        """Every tensor that it holds between calls."""

    @property
    def memory(self) -> int:
        """Bytes of the masks and indices it holds between calls."""
        return sum(tensor.nbytes for tensor in self.tensors())
