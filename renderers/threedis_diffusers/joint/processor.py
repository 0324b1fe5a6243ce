"""A model's own attention processors, with only the attention in them replaced.

What a stock processor computes before and after it (projections, norms, rotations) stays as it is,
so that this is exact for every processor that calls torch's ``scaled_dot_product_attention`` once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from threedis_core.attention import JointAttention, JointPhase, Site

Sites = Site | tuple[Site, ...] | None
"""Which tokens an attention sees: those of one site, or of several in turn; None: as it is."""


class _ByPlan(TorchFunctionMode):
    """While it is on, torch's attention is the plan's.

    A mask that the model gives is not used: the plan says who sees whom, padding included. Of
    several attentions it is that of as many tokens, or none.
    """

    def __init__(self, attentions: Sequence[JointAttention], several: bool) -> None:
        super().__init__()
        self._attentions, self._several = attentions, several

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any
    ) -> Tensor:
        for attention in self._attentions:
            if not self._several or attention.tokens == query.shape[2]:
                return attention(query, key, value)
        return scaled_dot_product_attention(query, key, value, *rest, **named)


class PlannedProcessor:
    """A stock processor whose attention is the plan's.

    Args:
        stock: The processor.
        attentions: What takes the place of torch's attention in it.
        several: True if it attends to the tokens of several sites in turn.
    """

    def __init__(
        self, stock: Any, attentions: Sequence[JointAttention], several: bool = False
    ) -> None:
        self.stock, self.attentions, self.several = stock, attentions, several
        # diffusers drops what is not named in the signature of this attribute.
        vars(self)["__call__"] = stock.__call__

    # A run's own state would make the compiler guess anew; the rest of a block stays compiled.
    @torch.compiler.disable
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the stock processor does, but attend by the plan."""
        with _ByPlan(self.attentions, self.several):
            return self.stock(*args, **kwargs)


@contextmanager
def planned(model: nn.Module, phase: JointPhase, site: Callable[[str], Sites]) -> Iterator[None]:
    """Have a phase's attention in ``model`` while inside.

    Args:
        model: Each module in it with ``set_processor`` is an attention.
        phase: The phase.
        site: Which tokens an attention sees, by the module's name.
    """
    own: list[tuple[Any, Any]] = []
    try:
        for name, module in attention_modules(model):
            where = site(name)
            sites = where if isinstance(where, tuple) else () if where is None else (where,)
            made = [one for one in map(phase.attention, sites) if one is not None]
            if made:
                own.append((module, module.processor))
                module.set_processor(PlannedProcessor(module.processor, made, len(sites) > 1))
        yield
    finally:
        for module, processor in own:
            module.set_processor(processor)


def attention_modules(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every attention in a model, by its name."""
    for name, module in model.named_modules():
        if hasattr(module, "set_processor"):
            yield name, module
