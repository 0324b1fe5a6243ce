"""A batch of joint attention, phase by phase: what each row reads, and who sees whom in it.

Shapes: R rows of a model's batch; N_i instances of row i; T text tokens of C channels, padding
included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from threedis_core.attention.choice import ChosenLowering
from threedis_core.attention.joint_attention import JointAttention
from threedis_core.attention.joint_controls import CONTROLS, Bools
from threedis_core.attention.joint_plan import JointPlan, Site, TokenOrder
from threedis_core.attention.lowering import lower
from threedis_core.values.schedule import ControlSchedule

Choose = Callable[[Sequence[JointPlan], frozenset[str]], ChosenLowering]
"""Says for the plans of a batch and the controls of a phase how they are carried out, and why."""
UNMASKED = ChosenLowering("none", "every token may see every other: the model's own attention")


@dataclass(frozen=True, eq=False)
class JointRow:
    """One row of a model's batch.

    Args:
        texts: The embeddings of its prompts, the global one, then the instances': shape
            (1 + N, L, C), or (L_i, C) each where their lengths differ.
        masks: Its instances' image tokens, bool, shape (N, rows, columns).
    """

    texts: Tensor | Sequence[Tensor]
    masks: Bools

    @classmethod
    def unhooked(cls, text: Tensor, grid: tuple[int, int]) -> JointRow:
        """A row without instances, which sees all of its own text and image in every phase.

        Args:
            text: Its embeddings, shape (L, C): of the negative prompt, say.
            grid: (rows, columns) of image tokens.
        """
        return cls(text[None], np.zeros((0, *grid), np.bool_))

    @property
    def plain(self) -> JointRow:
        """The row without its instances."""
        return JointRow(self.texts[:1], self.masks[:0])


@dataclass(frozen=True, eq=False)
class JointPhase:
    """A stretch of steps with the same controls on.

    Args:
        controls: They, and what else a schedule may have on.
        rows: What is there of each row.
        text: What the model reads, shape (R, T, C).
        plans: Who may see whom in each row.
        device: Where the model computes.
        chosen: How the plans are carried out.
    """

    controls: frozenset[str]
    rows: Sequence[JointRow]
    text: Tensor
    plans: Sequence[JointPlan]
    device: torch.device
    chosen: ChosenLowering
    _made: dict[Site, JointAttention | None] = field(
        default_factory=dict[Site, JointAttention | None], init=False
    )

    def attention(self, site: Site = "joint") -> JointAttention | None:
        """The attention over the tokens of a site, made once; None: the model's own will do."""
        if site not in self._made:
            rules, how = self.controls & set(CONTROLS), self.chosen.name
            made = None
            if how != UNMASKED.name:
                made = lower(self.plans, rules, how, self.device, self.text.dtype, site)
            self._made[site] = made
        return self._made[site]

    def text_places(self) -> list[tuple[Tensor, Tensor]]:
        """Of each row, both of shape (T,): each text token's place in its prompt, and what is fill.

        Places count from 1. Fill is what the model has learned padding for, and what is padding of
        the batch, at place 1.
        """
        found: list[tuple[Tensor, Tensor]] = []
        for row, plan in zip(self.rows, self.plans, strict=True):
            places = [torch.arange(1, size + 1) for size in plan.text_lengths]
            fill = [own > len(text) for own, text in zip(places, row.texts, strict=True)]
            rest = torch.ones(plan.padding, dtype=torch.long)
            lines = torch.cat([*places, rest]), torch.cat([*fill, rest > 0])
            found.append((lines[0].to(self.device), lines[1].to(self.device)))
        return found

    @property
    def memory(self) -> int:
        """Bytes of the masks and indices it holds, its texts aside."""
        return sum(made.memory for made in self._made.values() if made is not None)


class JointPhases:
    """The phases of a batch; one is made when its first step comes.

    Args:
        rows: The rows of the model's batch, those of negative prompts among them.
        schedule: Which control is on at which step. Where none is, the instances' texts are gone.
        choose: Says how a phase's plans are carried out.
        device: Where the model computes.
        order: Where it keeps its tokens.
    """

    def __init__(
        self,
        rows: Sequence[JointRow],
        schedule: ControlSchedule,
        choose: Choose,
        device: torch.device,
        order: TokenOrder | None = None,
    ) -> None:
        self.rows, self._schedule, self.device = rows, schedule, device
        self._choose, self._order = choose, order or TokenOrder()
        self.chosen: dict[frozenset[str], ChosenLowering] = {}
        """How each phase so far was carried out, by its controls, in order."""
        self._newest: JointPhase | None = None

    @property
    def plain_text(self) -> Tensor:
        """What the model reads where nothing is on, shape (R, T, C)."""
        return arrange_texts([row.plain.texts for row in self.rows], self._order)

    def at(self, step: int, current: JointPhase | None = None) -> JointPhase:
        """The phase of a step, counted from 0; ``current`` itself if it still goes on.

        Models that go through the steps together share their phases.
        """
        controls = self._schedule.active(step)
        for known in (current, self._newest):
            if known is not None and known.controls == controls:
                return known
        rows = self.rows if controls else [row.plain for row in self.rows]
        plans, rules = plans_of(rows, self._order), controls & set(CONTROLS)
        masked = not all(plan.permissions(rules).all() for plan in plans)
        self.chosen[controls] = chosen = self._choose(plans, rules) if masked else UNMASKED
        text = arrange_texts([row.texts for row in rows], self._order)
        self._newest = JointPhase(controls, rows, text, plans, self.device, chosen)
        return self._newest

    def plain(self, order: TokenOrder) -> JointPhases:
        """Another model's, which reads what is not of instances and hides the padding, no more."""
        return JointPhases(self.rows, ControlSchedule(), _masked, self.device, order)

    def summary(self, steps: int) -> Mapping[frozenset[str], ChosenLowering]:
        """How the phases of a run of ``steps`` steps were carried out, in order."""
        return {one.controls: self.chosen[one.controls] for one in self._schedule.phases(steps)}


def _masked(plans: Sequence[JointPlan], controls: frozenset[str]) -> ChosenLowering:
    return ChosenLowering("dense", "only padding is masked")


def arrange_texts(
    texts: Sequence[Tensor | Sequence[Tensor]], order: TokenOrder | None = None
) -> Tensor:
    """One line of text per row, padded to the longest: (L_i, C) of each prompt to (R, T, C).

    Padding that a model has learned is left to it: there are zeros in its place.
    """
    if order is not None and order.text_multiple > 1:
        texts = [
            [pad(one, (0, 0, 0, order.padded(len(one)) - len(one))) for one in row] for row in texts
        ]
    lines = [one.flatten(0, 1) if isinstance(one, Tensor) else torch.cat([*one]) for one in texts]
    if len(lines) == 1:
        return lines[0][None]  # no copy
    tokens = max(len(line) for line in lines)
    return torch.stack([pad(line, (0, 0, 0, tokens - len(line))) for line in lines])


def plans_of(rows: Sequence[JointRow], order: TokenOrder | None = None) -> list[JointPlan]:
    """The plans of rows whose texts are arranged by ``arrange_texts``."""
    order = order or TokenOrder()
    lengths = [tuple(order.padded(len(text)) for text in row.texts) for row in rows]
    tokens = max(map(sum, lengths))
    return [
        JointPlan(own, row.masks, tokens - sum(own), order)
        for own, row in zip(lengths, rows, strict=True)
    ]
