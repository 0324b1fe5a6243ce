"""The joint-attention hook: what a transformer reads, and who sees whom in it, phase by phase.

Shapes: R rows of the transformer's batch; T text tokens of C channels, padding included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from threedis_core.attention import JointPhase, JointPhases
from threedis_diffusers.joint.processor import Sites, planned


def everywhere_joint(name: str) -> Sites:
    """The site of each attention of a model that has no other ones than joint ones."""
    return "joint"


class JointHook:
    """Gives a transformer the texts and the attention of each phase.

    A model whose stock processors do more than one attention, or whose text is more than its
    embeddings, overrides ``enter`` or ``given``.

    Args:
        model: A transformer of diffusers, or a ControlNet that reads the texts likewise.
        phases: The batch's, whose rows are those that the pipeline calls the model with.
        site: Which tokens an attention sees, by its module's name.
    """

    def __init__(
        self,
        model: Any,
        phases: JointPhases,
        site: Callable[[str], Sites] = everywhere_joint,
    ) -> None:
        self.model, self.phases, self._site = model, phases, site
        self.phase: JointPhase | None = None
        self._open = ExitStack()

    @property
    def memory(self) -> int:
        """Bytes of the texts, masks and indices it holds in this phase; what is shared once."""
        held = [part for row in self.phases.rows for part in row.texts]
        if self.phase is not None:
            held.append(self.phase.text)
        storages = {
            one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in held
        }
        return sum(storages.values()) + (self.phase.memory if self.phase else 0)

    def step(self, index: int) -> None:
        """Get ready for step ``index``: a new phase begins where other controls are on."""
        phase = self.phases.at(index, self.phase)
        if phase is not self.phase:
            self.stop()
            self.enter(phase, self._open)
            self.phase = phase

    def stop(self) -> None:
        """Leave the model as it was."""
        self._open.close()
        self.phase = None

    def enter(self, phase: JointPhase, stack: ExitStack) -> None:
        """Begin a phase, whose end ``stack`` is told."""
        stack.enter_context(planned(self.model, phase, self._site))

    def given(self, kwargs: dict[str, Any], text: Tensor) -> dict[str, Any]:
        """The model's arguments by name with the phase's ``text``, shape (R, T, C), in them."""
        return {**kwargs, "encoder_hidden_states": text}

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook of the model: hand it the phase's texts."""
        text = kwargs.get("encoder_hidden_states")
        if self.phase is None or text is None:  # some ControlNets read no text
            return None
        return args, self.given(kwargs, self.phase.text.to(text))


class TwoPassHook(JointHook):
    """That of a model that a step calls twice: with the prompts, then with the negative ones.

    The second call is left alone. It is told by what it reads; where it reads the same, it is the
    second.
    """

    _given = _left = False

    def step(self, index: int) -> None:
        """Get ready for a step, whose first call has not been yet."""
        super().step(index)
        self._given = False

    def stop(self) -> None:
        """Leave the model as it was."""
        super().stop()
        self._left = False

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A forward pre-hook of the model: the phase in the first call, nothing in the second."""
        if self.phase is None:
            return None
        if self._given or not self._is_positive(kwargs["encoder_hidden_states"]):
            self._open.close()
            self._left = True
            return None
        if self._left:
            self.enter(self.phase, self._open)
        self._given, self._left = True, False
        return super().before(module, args, kwargs)

    def _is_positive(self, text: Tensor) -> bool:
        own = self.phases.plain_text
        return own.shape == text.shape and torch.equal(own.to(text), text)


@contextmanager
def attached(hook: JointHook) -> Iterator[None]:
    """Have ``hook`` in its model from step 0 on, and leave no trace of it afterwards."""
    handle = hook.model.register_forward_pre_hook(hook.before, with_kwargs=True)
    try:
        hook.step(0)
        yield
    finally:
        hook.stop()
        handle.remove()
