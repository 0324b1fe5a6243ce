"""Measure on this machine which lowering suits a renderer: what ``threedis tune`` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from threedis_core.attention import CONTROLS, ChosenLowering, JointPlan, choose_lowering
from threedis_core.attention.tuning import Race, Records, Setting, machine_of, phase_name
from threedis_core.attention.tuning.measure import PLAIN, measure
from threedis_core.errors import OptionError
from threedis_core.testing.samples import sample_layout
from threedis_core.values.regions import Regions
from threedis_diffusers.devices import resolve_device, resolve_dtype
from threedis_diffusers.joint.renderer import JointRenderer
from threedis_diffusers.model_files.facts import read_if_local
from threedis_diffusers.model_files.sources import ModelSource

EVERYTHING = frozenset(CONTROLS)
PHASES = {"i2i": EVERYTHING, "text": EVERYTHING - {"i2i"}}
"""The two phases of a usual run: its first steps with every control, the others without i2i."""
CPU_HEADS = 2
"""Heads are independent; on a CPU so many tell as much as all of them."""
MOST_INSTANCES = 32
"""As many as the sample layout has solids."""
SHORT = 16
"""Text tokens that ``tokens_per_prompt=auto`` keeps of most prompts."""


@dataclass(frozen=True, eq=False)
class Task:
    """One measurement to make: a picture of boxes in rows of four, in one phase."""

    phase: str
    plan: JointPlan
    setting: Setting


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a task came to.

    Args:
        task: The task.
        race: The times of the lowerings.
        plain: Seconds of attention over as many tokens without any mask.
        failed: By lowering why it could not run.
    """

    task: Task
    race: Race
    plain: float
    failed: dict[str, str]


class Tuning:
    """The measurements for one renderer.

    Args:
        renderer: It says device, number format, heads, and by default size and tokens.
        size: (width, height) in pixels; None: the renderer's default.
        instances: Instance counts.
        tokens: Text tokens kept of each prompt; empty: as the renderer's options say.
    Raises:
        OptionError: The renderer cannot work here, or a number does not fit.
    """

    def __init__(
        self,
        renderer: JointRenderer,
        size: tuple[int, int] | None,
        instances: Sequence[int],
        tokens: Sequence[int],
    ) -> None:
        options = renderer.options
        self.device, self.reorders = resolve_device(options), options.reorders
        self.dtype = resolve_dtype(options, self.device, renderer.accelerated)
        config = read_if_local(ModelSource(options.model), "transformer/config.json")
        heads, head = renderer.heads
        self.head = config.get("attention_head_dim", head)
        heads = config.get("num_attention_heads", heads)
        self.heads = min(heads, CPU_HEADS) if self.device.type == "cpu" else heads
        own = options.tokens_per_prompt
        kept = tokens or [SHORT if own == "auto" else own]
        grid = _grid(renderer, size or renderer.capabilities.default_size)
        for count in instances:
            if not 1 <= count <= MOST_INSTANCES:
                raise OptionError(f"--instances {count}: expected 1 to {MOST_INSTANCES}")
        self.tasks = [
            self._task(phase, count, one, grid)
            for one in kept
            for count in instances
            for phase in PHASES
        ]

    def _task(self, phase: str, instances: int, tokens: int, grid: tuple[int, int]) -> Task:
        rows, columns = grid
        regions = Regions.from_layout(sample_layout(instances), columns, rows)
        masks = regions.token_masks(rows, columns)
        plan = JointPlan((tokens,) * (1 + instances), masks)
        setting = Setting(
            device=machine_of(self.device),
            torch=torch.__version__,
            dtype=str(self.dtype).removeprefix("torch."),
            head=self.head,
            phase=phase_name(PHASES[phase]),
            image_tokens=plan.image_tokens,
            text_tokens=plan.text_tokens,
            instances=instances,
        )
        return Task(phase, plan, setting)

    def picked(self, task: Task, records: Records) -> ChosenLowering:
        """What ``auto`` picks for a task, given what was measured."""
        controls = PHASES[task.phase]
        plans = [task.plan]
        where = self.device, self.dtype, self.head
        return choose_lowering(plans, controls, *where, records, reorders=self.reorders)

    def measured(self, repeats: int) -> Iterator[Outcome]:
        """Carry out the tasks, one after another."""
        with torch.no_grad():
            for task in self.tasks:
                seconds, failed = measure(
                    task.plan,
                    PHASES[task.phase],
                    self.device,
                    self.dtype,
                    self.heads,
                    self.head,
                    repeats,
                )
                plain = seconds.pop(PLAIN)
                yield Outcome(task, Race(task.setting, seconds), plain, failed)


def _grid(renderer: JointRenderer, size: tuple[int, int]) -> tuple[int, int]:
    """The (rows, columns) of image tokens of a picture."""
    multiple = renderer.capabilities.size_multiple
    for side in size:
        if side < multiple or side % multiple:
            raise OptionError(
                f"--size {size[0]}x{size[1]}: this model needs multiples of {multiple}; use "
                f"{max(multiple, round(size[0] / multiple) * multiple)}x"
                f"{max(multiple, round(size[1] / multiple) * multiple)}"
            )
    return size[1] // multiple, size[0] // multiple
