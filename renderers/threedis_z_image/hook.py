"""Z-Image's joint-attention hook: its own texts, each where it would be if it was alone.

A model pads each text to a multiple of 32 with tokens it has learned; text is at positions from 1,
the image one behind it. So the instances' texts begin at 1 again, with padding of their own, and
the image stays behind the global text: it does not move, however many instances there are.

Shapes: R rows; T text tokens, padding included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from threedis_core.attention import JointPhase
from threedis_diffusers.joint.hook import JointHook


class ZImageHook(JointHook):
    """Gives a Z-Image transformer, or its ControlNet, the texts of each phase and their places."""

    def enter(self, phase: JointPhase, stack: ExitStack) -> None:
        """Begin a phase."""
        super().enter(phase, stack)
        stack.enter_context(_placed(self.model, phase))

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook: the phase's texts in place of the pipeline's, the third argument."""
        if self.phase is None:
            return None
        images, time, texts, *others = args
        return (images, time, [*self.phase.text.to(texts[0])], *others), kwargs


@contextmanager
def _placed(model: Any, phase: JointPhase) -> Iterator[None]:
    """Have ``model`` place its tokens as the phase's texts ask, while inside."""
    stock, texts_of_rows = model.patchify_and_embed, phase.text_places()

    def patchify(images: Sequence[Tensor], texts: Sequence[Tensor], *sizes: int) -> Any:
        *parts, image_ids, text_ids, image_padding, _ = stock(images, texts, *sizes)
        for plan, (places, _), image, text in zip(
            phase.plans, texts_of_rows, image_ids, text_ids, strict=True
        ):
            behind = plan.text_lengths[0] + 1
            image[:, 0] = torch.where(image[:, 0] > 0, behind, image[:, 0])
            text[:, 0] = places
        return (
            *parts,
            image_ids,
            text_ids,
            image_padding,
            [learned for _, learned in texts_of_rows],
        )

    model.patchify_and_embed = patchify
    try:
        yield
    finally:
        del model.patchify_and_embed
