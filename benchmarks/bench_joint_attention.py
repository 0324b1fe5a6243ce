"""One joint-attention call under the region plan, per lowering, against two yardsticks.

    python benchmarks/bench_joint_attention.py [--layout overlapping] [--instances 4 8 16]

For each number of instances N, the text has 200 tokens a prompt and the image 4096 tokens. Two
phases are measured: "i2i" with every control on, as in the first steps, and "text" without i2i.
Each lowering's time is given as a ratio to masked attention on a ready dense mask ("/ dense") and
to plain attention without a mask over 512 + 4096 tokens ("/ plain"), which is what the model
without instances would do. "pairs" is the share of all pairs of tokens that the plan permits:
where exact attention is only as fast as its arithmetic, "/ dense" cannot be far below it. All
contestants take turns in one process; a figure is the median.

FLUX has 24 heads of 128. On a CPU the default is 2 heads, to end in minutes: heads are
independent, so the ratios barely depend on it. On a GPU the default is 24 heads in bfloat16.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from turns import take_turns

from threedis_core.attention import JointAttention, JointPlan, lower
from threedis_core.testing.samples import sample_layout
from threedis_core.values.layout import Box
from threedis_core.values.regions import Regions

HEAD = 128
TOKENS_PER_PROMPT = 200
PLAIN_TEXT = 512
PHASES = {
    "i2i": frozenset({"i2i", "i2t", "t2i", "t2t"}),
    "text": frozenset({"i2t", "t2i", "t2t"}),
}
LINE = "{instances:>3} {phase:>5} {pairs:>6} {lowering:>11} {dense:>8} {plain:>8} {ms:>10} {mb:>8}"


def main() -> None:
    """Parse the command line, measure, print a table or JSON."""
    arguments = parse()
    device = torch.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    arguments.heads = arguments.heads or (2 if device.type == "cpu" else 24)
    if not arguments.json:
        print(
            f"{arguments.heads} heads of {HEAD} on {device}, {arguments.tokens} image tokens, "
            f"{TOKENS_PER_PROMPT} a prompt, layout {arguments.layout}"
        )
        titles = {"instances": "N", "phase": "phase", "pairs": "pairs", "lowering": "lowering"}
        print(LINE.format(**titles, dense="/ dense", plain="/ plain", ms="ms", mb="MB held"))
    found: list[dict[str, Any]] = []
    for instances in arguments.instances:
        for phase in PHASES:
            rows = measure(arguments, instances, phase, device)
            found += rows
            if not arguments.json:
                print_rows(rows)
    if arguments.json:
        print(json.dumps(found))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, nargs="+", default=[4, 8, 16], help="N")
    parser.add_argument("--tokens", type=int, default=4096, help="image tokens, a square number")
    parser.add_argument("--heads", type=int, help="default: 2 on a CPU, else 24")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument(
        "--layout",
        choices=tuple(LAYOUTS),
        default="apart",
        help="apart: boxes in rows of four; overlapping: the same, grown into one another; "
        "anywhere: random boxes, many overlap or nest",
    )
    parser.add_argument(
        "--lowerings",
        nargs="+",
        default=["segments"],
        help="which to measure beside dense: segments, block_mask (give the latter a GPU)",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args()


def make_plan(layout: str, instances: int, tokens: int) -> JointPlan:
    """The plan of ``instances`` boxes on a square grid of ``tokens``."""
    side = int(tokens**0.5)
    if side * side != tokens:
        raise SystemExit(f"--tokens is {tokens}; expected a square number, for example 4096")
    boxes = LAYOUTS[layout](instances)
    regions = Regions(boxes, (None,) * instances, side, side)
    lengths = (TOKENS_PER_PROMPT,) * (1 + instances)
    return JointPlan(lengths, regions.token_masks(side, side))


def apart(instances: int) -> tuple[Box, ...]:
    """Boxes in rows of four that do not touch."""
    return tuple(instance.box for instance in sample_layout(instances).instances)


def overlapping(instances: int) -> tuple[Box, ...]:
    """The same boxes, resized by -10 to 40 %: many cover a strip of their neighbours."""
    growth = np.random.default_rng(instances).uniform(0.9, 1.4, (instances, 2))
    corners = np.array([box.xyxy for box in apart(instances)])
    centres, halves = (corners[:, 2:] + corners[:, :2]) / 2, (corners[:, 2:] - corners[:, :2]) / 2
    return boxes_between(centres - halves * growth, centres + halves * growth)


def anywhere(instances: int) -> tuple[Box, ...]:
    """Boxes at random, whose areas sum to that of the picture: many overlap or nest."""
    generator = np.random.default_rng(instances)
    sides = instances**-0.5 * generator.uniform(0.75, 1.25, (instances, 2)).clip(max=1)
    starts = generator.uniform(size=(instances, 2)) * (1 - sides)
    return boxes_between(starts, starts + sides)


def boxes_between(starts: NDArray[np.float64], stops: NDArray[np.float64]) -> tuple[Box, ...]:
    """Boxes from their corners, shape (N, 2) each, cut at the picture's border."""
    corners = np.concatenate([starts, stops], axis=1).clip(0, 1).tolist()
    return tuple(Box.from_xyxy(box) for box in corners)


LAYOUTS = {"apart": apart, "overlapping": overlapping, "anywhere": anywhere}


def permitted(plan: JointPlan, controls: frozenset[str]) -> float:
    """The share of all pairs of tokens that may see each other: what exact attention must do."""
    sizes = np.array([cell.size for cell in plan.cells])
    return float(sizes @ plan.permissions(controls) @ sizes) / plan.tokens**2


def measure(
    arguments: argparse.Namespace, instances: int, phase: str, device: torch.device
) -> list[dict[str, Any]]:
    """One row per contestant: its median time and the two ratios."""
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    plan = make_plan(arguments.layout, instances, arguments.tokens)
    calls: dict[str, Callable[[], Tensor]] = {}
    memory = {"plain": 0}
    plain_heads = heads(arguments.heads, PLAIN_TEXT + arguments.tokens, device, dtype)
    calls["plain"] = lambda: scaled_dot_product_attention(*plain_heads)
    query, key, value = heads(arguments.heads, plan.tokens, device, dtype)
    for name in ["dense", *arguments.lowerings]:
        attention = lower([plan], PHASES[phase], name, device, dtype)
        if attention is None:
            raise SystemExit("--instances 0 restricts nothing: there is nothing to measure")
        calls[name] = turn(attention, query, key, value)
        memory[name] = attention.memory
    pairs = permitted(plan, PHASES[phase])
    times = take_turns(calls, arguments.repeats, device)
    return [
        {
            "instances": instances,
            "phase": phase,
            "pairs": pairs,
            "lowering": name,
            "dense": seconds / times["dense"],
            "plain": seconds / times["plain"],
            "ms": seconds * 1e3,
            "mb": memory[name] / 1e6,
        }
        for name, seconds in times.items()
    ]


def heads(
    count: int, tokens: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Random query, key and value in the memory layout that a model's projections give."""
    shape = (1, tokens, count, HEAD)
    first, second, third = (torch.randn(shape, device=device, dtype=dtype) for _ in range(3))
    return first.transpose(1, 2), second.transpose(1, 2), third.transpose(1, 2)


def turn(attention: JointAttention, *tensors: Tensor) -> Callable[[], Tensor]:
    """A call of one lowering."""
    return lambda: attention(*tensors)


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The table's lines."""
    for row in rows:
        shown = {name: f"{row[name]:.2f}" for name in ("pairs", "dense", "plain", "mb")}
        print(LINE.format(**{**row, **shown, "ms": f"{row['ms']:.0f}"}), flush=True)


if __name__ == "__main__":
    main()
