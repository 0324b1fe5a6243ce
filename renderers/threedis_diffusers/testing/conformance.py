"""The tests of a renderer on a diffusers pipeline: those of every renderer, and a look inside.

class TestMine(DiffusersConformance):
    plugin_module = "my_plugin"

    def make_backend(self, **options):
        return MyRenderer(MyRenderer.Options(**{"model": TINY, **options}))

Pictures are rounded and mixed; what a denoiser computes is not. So these checks are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from threedis_core.attention import CONTROLS
from threedis_core.plugin.interfaces import RenderBackend, RenderRequest
from threedis_core.testing import RendererConformance
from threedis_core.testing.renderer.scenes import OTHERS, PROMPTS
from threedis_core.values.box import Box
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule
from threedis_diffusers.testing.layers import answers, text_layers
from threedis_diffusers.testing.recording import Call, awaken, recorded

EXACT = 1e-4
"""How far numbers that must be equal may be apart, of their standard deviation."""


class DiffusersConformance(RendererConformance):
    """What a renderer on a diffusers pipeline promises, its hook looked at from inside.

    Args:
        text_input: The denoiser's argument that holds the global prompt; "" if the renderer gives
            it the instances' texts by the same argument.
    """

    text_input: ClassVar[str] = "encoder_hidden_states"

    def denoiser(self, backend: RenderBackend) -> nn.Module:
        """The loaded model that the steps call: the pipeline's U-Net or transformer."""
        pipeline: Any = backend.load().pipeline  # type: ignore[attr-defined]
        return pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer

    def negative_rows(self, call: int, rows: int, pictures: int) -> Sequence[int]:
        """Which rows of the denoiser's output are the negative prompts'.

        By default those in front of the pictures', if there are more rows than pictures.

        Args:
            call: Which call of its step it is, from 0.
            rows: How many rows it has.
            pictures: How many pictures are rendered.
        """
        return range(rows - pictures)

    def model_folder(self) -> Path | None:
        """The folder that the option ``model`` names, if it is one."""
        folder = Path(getattr(self.make_backend().options, "model", ""))
        return folder if folder.is_dir() else None

    def test_negative_rows_are_the_unhooked_ones_at_the_first_step(self) -> None:
        backend = self._awake()
        on, off = (
            self._calls(backend, self.scene(control=c)) for c in (self.all_on(), ControlSchedule())
        )
        seen = 0
        for number in range(len(on) // self._steps()):
            rows = len(on[number].output)
            negative = list(self.negative_rows(number, rows, 1))
            positive = [row for row in range(rows) if row not in negative]
            seen += len(negative)
            assert _apart(on[number].output[negative], off[number].output[negative]) <= EXACT, (
                "the hook changes rows of the negative prompt, which must stay the model's own"
            )
            hooked = not positive or _apart(
                on[number].output[positive], off[number].output[positive]
            )
            assert hooked, "with all controls on the denoiser computes what it does with all off"
        if not seen:
            pytest.skip("the denoiser has no rows of negative prompts")

    def test_controls_act_on_the_denoiser_at_their_steps_only(self) -> None:
        """Renders whose controls are on at one step each agree until the first of these."""
        self.needs("controls")
        self.needs("steps")
        steps = self.steps(1)
        backend = self._awake()
        drawn = [
            self._calls(backend, self.scene(control=self.all_on(step, step + 1), steps=steps))
            for step in range(steps)
        ]
        each = len(drawn[0]) // steps
        for step, (on, off) in enumerate(pairwise(drawn)):
            changed = [_apart(one.output, two.output) for one, two in zip(on, off, strict=True)]
            assert max(changed[: step * each], default=0) <= EXACT, (
                f"controls that are on at step {step} only act before"
            )
            assert max(changed[step * each : (step + 1) * each]) > EXACT, (
                f"controls that are on at step {step} do nothing there, or others go on"
            )

    def test_instances_texts_change_nothing_where_all_controls_are_off(self) -> None:
        """Nobody may see them then."""
        count, off = self.instances(4), ControlSchedule()
        backend = self._awake()
        some, others = (
            self._calls(backend, self.scene(prompts=prompts[:count], control=off))
            for prompts in (PROMPTS, OTHERS)
        )
        for number, (one, other) in enumerate(zip(some, others, strict=True)):
            assert torch.equal(one.output, other.output), (
                f"with all controls off the instances' prompts change call {number} of the denoiser"
            )

    def test_the_global_text_does_not_depend_on_the_instances(self) -> None:
        name = self.text_input
        if not name or self.instances(4) == 0:
            pytest.skip("the denoiser gets all texts by one argument")
        backend = self._awake()
        some, others = (
            self._calls(backend, self.scene(prompts=prompts[: self.instances(4)]))[0].inputs[name]
            for prompts in (PROMPTS, OTHERS)
        )
        same = some.shape == others.shape and torch.equal(some, others)
        assert same, "the instances' prompts change the global one that the denoiser is given"

    def test_a_hidden_text_is_as_if_it_was_absent(self) -> None:
        """Regions cover the picture, and one instance has none: nobody may see its text."""
        self._needs_hiding(5)
        covered, absent = self._covered(PROMPTS), self._covered(PROMPTS, hidden=None)
        other = self._covered(PROMPTS, hidden=OTHERS[0])
        backend = self._awake()
        drawn = [self._calls(backend, request) for request in (covered, other, absent)]
        for number, (one, changed, without) in enumerate(zip(*drawn, strict=True)):
            assert _apart(one.output, changed.output) <= EXACT / 10, (
                f"a text that nobody may see changes call {number} of the denoiser"
            )
            assert _apart(one.output, without.output) <= EXACT, (
                f"a text that nobody may see is not as if it was absent in call {number}"
            )

    def test_a_region_hears_no_other_prompt_at_the_first_step(self) -> None:
        """It is exact there only: later a ControlNet and the steps before mix regions."""
        self._needs_hiding(4)
        request = self._covered(PROMPTS, hidden=None)
        backend = self._awake()
        before = self._calls(backend, request)[0].output
        for index in range(4):
            prompts = [*PROMPTS[:index], OTHERS[index], *PROMPTS[index + 1 :]]
            after = self._calls(backend, self._covered(prompts, hidden=None))[0].output
            changed = _by_region(request, before, after)
            assert changed[index] > EXACT, f"region {index} does not hear its own prompt"
            others = np.delete(changed, index)
            assert others.max() <= EXACT, (
                f"the prompt of instance {index} is heard in other regions at the first step "
                f"(changes by region, of the output's deviation: {changed}); is each attention "
                "of each block hooked?"
            )

    def test_each_layer_that_reads_text_hears_each_instance_in_its_region(self) -> None:
        """Each on its own: given the same picture, only the text can change what it answers."""
        self.needs("controls")
        backend = self._awake()
        layers = text_layers(self.denoiser(backend))
        if not layers or self.instances(4) < 4:
            pytest.skip("the denoiser has no layers of cross-attention, or takes few instances")
        request = self.scene(control=self.all_on())
        given, before = answers(backend, layers, request)
        for index in range(4):
            prompts = [*PROMPTS[:index], OTHERS[index], *PROMPTS[index + 1 :]]
            other = self.scene(prompts=prompts, control=self.all_on())
            _, after = answers(backend, layers, other, given)
            for name in layers:
                self._check_layer(name, index, request, before[name], after[name])

    def _check_layer(
        self, name: str, index: int, request: RenderRequest, before: Tensor, after: Tensor
    ) -> None:
        negative = list(self.negative_rows(0, len(before), 1))
        positive = [row for row in range(len(before)) if row not in negative]
        assert _apart(before[negative], after[negative]) <= EXACT, (
            f"the layer {name} lets rows of the negative prompt hear instance {index}"
        )
        changed = _by_region(request, before[positive], after[positive])
        assert changed[index] > EXACT, f"the layer {name} does not hear instance {index}"
        assert changed.argmax() == index or before.shape[1] < 16, (
            f"the layer {name} hears instance {index} most in region {changed.argmax()}"
        )

    def _awake(self) -> RenderBackend:
        """A loaded backend no layer of which is all zeros."""
        backend: Any = self.make_backend()
        self.load(backend)
        for part in backend.load().pipeline.components.values():
            if isinstance(part, nn.Module):
                awaken(part)
        return backend

    def _calls(self, backend: RenderBackend, request: RenderRequest) -> list[Call]:
        """The calls of the denoiser in a render of ``request``."""
        with recorded(self.denoiser(backend)) as calls:
            backend.render([request])
        assert calls, "the denoiser was never called; override denoiser"
        return calls

    def _steps(self) -> int:
        return self.capabilities().default_steps

    def _needs_hiding(self, instances: int) -> None:
        """Skip where controls bind softly, as the fusion of a U-Net does."""
        able = self.capabilities()
        if not able.controls >= set(CONTROLS) or self.instances(instances) < instances:
            pytest.skip("the controls are none that hide a text from everybody")

    def _covered(self, prompts: Sequence[str], hidden: str | None = "a grey cat") -> RenderRequest:
        """Four quarters that leave no background, and one more instance that has no region."""
        size = self.capabilities().default_size
        width, height = size
        quarters = np.zeros((4, height, width), np.bool_)
        for place, mask in enumerate(quarters):
            row, column = place // 2 * (height // 2), place % 2 * (width // 2)
            mask[row : row + height // 2, column : column + width // 2] = True
        masks = [*quarters, *([] if hidden is None else [np.zeros((height, width), np.bool_)])]
        boxes = (Box.from_xyxy((0, 0, 1, 1)),) * len(masks)
        texts = [*prompts, *([] if hidden is None else [hidden])]
        places = [*range(4), 0][: len(texts)]
        regions = Regions(boxes, tuple(masks), height, width)
        return self.scene(prompts=texts, places=places, regions=regions, control=self.all_on())


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, of the standard deviation of ``other``; 0 of nothing."""
    if one.numel() == 0:
        return 0.0
    return float((one - other).abs().max() / other.std().clamp_min(1e-12))


def _by_region(request: RenderRequest, before: Tensor, after: Tensor) -> np.ndarray:
    """The largest change in each region, of the deviation of ``before``.

    Args:
        request: What was rendered.
        before: Shape (rows, tokens, C), or (rows, C, h, w) as latents are, or (rows, C, 1, h, w).
        after: The same with something changed.
    """
    change = (after - before).abs() / before.std().clamp_min(1e-12)
    if change.ndim == 5:
        change = change.squeeze(2)
    if change.ndim == 4:
        rows, columns = change.shape[2:]
        cells = change.amax((0, 1))
    else:
        tokens = change.shape[1]
        rows = round((tokens * request.height / request.width) ** 0.5)
        columns = tokens // rows
        cells = change.amax((0, 2)).reshape(rows, columns)
    masks = request.regions.token_masks(rows, columns)
    alone = [mask & ~np.delete(masks, index, 0).any(0) for index, mask in enumerate(masks)]
    values = cells.float().cpu().numpy()
    # On a grid of one token all regions share it.
    used = [own if own.any() else mask for own, mask in zip(alone, masks, strict=True)]
    return np.array([values[mask].max() if mask.any() else 0.0 for mask in used])
