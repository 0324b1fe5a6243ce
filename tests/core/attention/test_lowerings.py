"""Every lowering does what the dense mask does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from threedis_core.attention import JointPlan, lower
from threedis_core.attention.joint_controls import CONTROLS
from threedis_core.attention.lowering import MAKERS
from threedis_core.errors import RenderError

CPU = torch.device("cpu")
ALL = frozenset(CONTROLS)
MB = 1e6
Strategy = st.SearchStrategy
# bfloat16 keeps 8 bits, and a value is up to about 8.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}


def boxes(instances: int, side: int) -> np.ndarray:
    """Boxes along a diagonal, each over a part of the next, shape (instances, side, side)."""
    masks = np.zeros((instances, side, side), np.bool_)
    for index, start in enumerate(np.linspace(0, side - side // 4, instances).astype(int)):
        masks[index, start : start + side // 4, start : start + side // 3] = True
    return masks


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "dense"])
def test_a_lowering_equals_dense(
    name: str,
    dtype: torch.dtype,
    plan_batches: Strategy[list[JointPlan]],
    control_sets: Strategy[frozenset[str]],
    heads: Callable[..., list[Tensor]],
    run: Callable[..., Tensor],
) -> None:
    torch.compiler.reset()  # so few kernels for so many shapes: those of other tests do not count

    @settings(max_examples=20)
    @given(plans=plan_batches, controls=control_sets)
    def check(plans: list[JointPlan], controls: frozenset[str]) -> None:
        dense = lower(plans, controls, "dense", CPU, torch.float32)
        made = lower(plans, controls, name, CPU, dtype)
        assert (dense is None) == (made is None)
        if dense is not None and made is not None:
            inputs = heads(plans, dtype)
            expected = dense(*(tensor.float() for tensor in inputs))
            out = run(made, plans, *inputs)
            assert out.dtype == dtype
            close = {"atol": TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
            torch.testing.assert_close(out.float(), expected, **close)

    check()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("controls", [ALL, ALL - {"i2i"}], ids=["i2i", "text"])
def test_a_picture_of_a_batch_is_as_if_alone(
    name: str,
    controls: frozenset[str],
    heads: Callable[..., list[Tensor]],
    run: Callable[..., Tensor],
) -> None:
    # Large enough for shared keys and for several blocks; the last two are the same.
    counts = (0, 6, 2, 2)
    plans = [JointPlan((12,) * (1 + count), boxes(count, 12)) for count in counts]
    batch = [plan.padded(90) for plan in plans]
    inputs = heads(batch)
    attention = lower(batch, controls, name, CPU, torch.float32)
    assert attention is not None
    out = run(attention, batch, *inputs)
    for index, plan in enumerate(plans):
        real = [*range(plan.text_tokens), *range(90, batch[0].tokens)]
        own = [tensor[index : index + 1, :, real] for tensor in inputs]
        alone = lower([plan], controls, "dense", CPU, torch.float32)
        expected = torch.nn.functional.scaled_dot_product_attention(*own)
        expected = expected if alone is None else alone(*own)
        torch.testing.assert_close(out[index : index + 1, :, real], expected)


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_lowered_where_nothing_is_restricted(name: str) -> None:
    alone = JointPlan((4,), np.zeros((0, 3, 3), np.bool_))
    assert lower([alone, alone], ALL, name, CPU, torch.float32) is None
    held = JointPlan((4, 4), boxes(1, 4))
    assert lower([held], frozenset(), name, CPU, torch.float32) is None
    assert lower([alone.padded(5)], frozenset(), name, CPU, torch.float32) is not None


@pytest.mark.parametrize("name", MAKERS)
def test_a_call_of_another_size_than_the_plan_is_refused(
    name: str, heads: Callable[..., list[Tensor]]
) -> None:
    plans = [JointPlan((3, 2), boxes(1, 4))]
    attention = lower(plans, ALL, name, CPU, torch.float32)
    assert attention is not None
    with pytest.raises(RenderError, match=r"1 pictures of 21 tokens, but .* got 2 of 21"):
        attention(*heads(plans * 2))


@pytest.mark.parametrize(("name", "limit"), [("segments", 2 * MB), ("block_mask", 2 * MB)])
@pytest.mark.parametrize("controls", [ALL, ALL - {"i2i"}], ids=["i2i", "text"])
def test_sixteen_instances_at_1024_pixels_take_little_memory(
    name: str, limit: float, controls: frozenset[str]
) -> None:
    plan = JointPlan((200,) * 17, boxes(16, 64))
    attention = lower([plan], controls, name, CPU, torch.bfloat16)
    assert attention is not None
    held = {tensor.data_ptr(): tensor.nbytes for tensor in tensors_in(attention)}
    assert 0 < attention.memory < limit
    assert sum(held.values()) == attention.memory


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Every tensor it holds: in attributes, containers, and what its own functions close over."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, list | tuple):
        for part in thing:
            yield from tensors_in(part)
    elif isinstance(thing, FunctionType) and thing.__module__.startswith("threedis_core"):
        yield from tensors_in([cell.cell_contents for cell in thing.__closure__ or ()])
    elif isinstance(thing, BlockMask) or type(thing).__module__.startswith("threedis_core"):
        yield from tensors_in(list(vars(thing).values()))
