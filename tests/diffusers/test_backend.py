"""A renderer is little work on top of the base: it loads, says its controls, and draws a batch."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from PIL import Image

from threedis_core.errors import OptionError, RenderError, WeightsError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.plugin.options import validate_options
from threedis_core.testing.samples import sample_request
from threedis_core.values.schedule import ControlSchedule, StepRange
from threedis_diffusers.backend import DiffusersRenderer, LoadedPipeline
from threedis_diffusers.batch import Batch, Drawn
from threedis_diffusers.options import DiffusersOptions
from threedis_diffusers.steps import OnStep, StepCounter


class GreyOptions(DiffusersOptions):
    """Options of ``grey``."""

    model: str = "grey"
    steps: int = 4


class GreyRenderer(DiffusersRenderer):
    """A renderer whose pictures are grey by the seed; it notes what it is given."""

    Options = GreyOptions
    name: ClassVar[str] = "grey"

    def __init__(self, options: GreyOptions) -> None:
        super().__init__(options)
        self.finds, self.loads, self.frees, self.schedules = 0, 0, 0, 0
        self.batches: list[Batch] = []
        self.before_drawing: Callable[[], object] = lambda: None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(size_multiple=8, controls=frozenset({"shade"}))

    def find(self) -> Callable[[], LoadedPipeline]:
        self.finds += 1
        return self._load

    def _load(self) -> LoadedPipeline:
        self.loads += 1
        parts = {"scheduler": object(), "components": {}}
        pipeline = SimpleNamespace(**parts, hf_device_map=None, maybe_free_model_hooks=self._free)
        return LoadedPipeline(pipeline, torch.device("cpu"), torch.float32)

    def _free(self) -> None:
        self.frees += 1

    def default_schedule(self, request: RenderRequest, steps: int) -> ControlSchedule:
        self.schedules += 1
        return ControlSchedule({"shade": StepRange.first(steps // 2)})

    def draw(self, loaded: LoadedPipeline, batch: Batch, on_step: OnStep) -> list[Drawn]:
        self.batches.append(batch)
        self.before_drawing()
        for step in range(batch.steps):
            on_step(step + 1, batch.steps)
        return [
            Drawn(Image.new("L", batch.size, request.seed), ("note",), {"shade": request.seed})
            for request in batch.requests
        ]


@pytest.fixture
def renderer() -> GreyRenderer:
    return GreyRenderer(GreyOptions())


def test_requests_that_go_together_make_one_batch_and_results_keep_the_order(
    renderer: GreyRenderer,
) -> None:
    sizes = [(64, 64), (72, 64), (64, 64), (64, 64)]
    requests = [sample_request(seed=seed, size=size) for seed, size in enumerate(sizes)]
    object.__setattr__(requests[3], "steps", 2)
    told: list[tuple[str, int, int]] = []
    results = renderer.render(requests, lambda *now: told.append(now))
    assert [result.provenance["shade"] for result in results] == [0, 1, 2, 3]
    assert [result.image.size for result in results] == sizes
    assert [len(batch.requests) for batch in renderer.batches] == [2, 1, 1]
    assert told[:2] == [("loading", 0, 1), ("loading", 1, 1)]
    assert told[2:] == [("render", done, 10) for done in range(1, 11)]


def test_the_model_is_loaded_once_and_again_after_closing(renderer: GreyRenderer) -> None:
    for _ in range(2):
        renderer.render([sample_request()])
    assert renderer.loads == 1
    renderer.close()
    renderer.render([sample_request()])
    assert renderer.loads == 2


def test_a_check_loads_nothing_and_a_render_does_not_look_again(renderer: GreyRenderer) -> None:
    renderer.check()
    renderer.check()
    assert (renderer.finds, renderer.loads) == (1, 0)
    for _ in range(2):
        renderer.render([sample_request()])
        renderer.check()
    assert (renderer.finds, renderer.loads) == (1, 1)
    renderer.close()
    renderer.check()
    assert (renderer.finds, renderer.loads) == (2, 1)


def test_after_a_model_that_could_not_be_loaded_its_files_are_looked_for_again(
    renderer: GreyRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> LoadedPipeline:
        raise WeightsError("damaged")

    monkeypatch.setattr(renderer, "_load", fail)
    with pytest.raises(WeightsError, match="damaged"):
        renderer.render([sample_request()])
    monkeypatch.undo()
    assert renderer.render([sample_request()])
    assert renderer.finds == 2


def test_the_schedule_of_a_request_is_made_once(renderer: GreyRenderer) -> None:
    renderer.render([sample_request(seed=seed) for seed in range(3)])
    assert renderer.schedules == 3


def test_provenance_tells_what_a_run_does_not_know_and_what_this_renderer_adds(
    renderer: GreyRenderer,
) -> None:
    result = renderer.render([sample_request(seed=7)])[0]
    assert result.image.mode == "RGB"
    assert result.warnings == ("note",)
    facts = result.provenance
    assert facts["shade"] == 7
    assert facts.keys().isdisjoint({"renderer", "model", "seed", "options"}), "a run has these"
    assert (facts["steps"], facts["guidance"], facts["dtype"]) == (4, 7.5, "float32")
    assert facts["phases"] == [
        {"start": 0, "stop": 2, "controls": ["shade"]},
        {"start": 2, "stop": 4, "controls": []},
    ]


def test_wrong_requests_are_refused_before_loading(renderer: GreyRenderer) -> None:
    with pytest.raises(OptionError, match="multiples of 8"):
        renderer.render([sample_request(), sample_request(size=(65, 64))])
    assert renderer.loads == 0


def test_too_little_memory_is_told_in_words(renderer: GreyRenderer) -> None:
    def fail() -> None:
        raise torch.OutOfMemoryError

    renderer.before_drawing = fail
    with pytest.raises(RenderError, match="too small for 1 pictures of 64x64"):
        renderer.render([sample_request()])
    assert renderer.frees == 1


def test_a_second_call_while_rendering_is_refused(renderer: GreyRenderer) -> None:
    renderer.before_drawing = lambda: renderer.render([sample_request()])
    with pytest.raises(RenderError, match="at work already"):
        renderer.render([sample_request()])
    renderer.before_drawing = lambda: None
    assert renderer.render([sample_request()])


def test_steps_of_a_second_order_scheduler_count_half() -> None:
    told: list[int] = []
    on_step = StepCounter(lambda stage, done, total: told.append(done), 10, 3, 20)
    for done in range(1, 6):
        on_step(done, 5)
    assert told == [11, 12, 13]


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", ""])
def test_a_device_is_one_that_torch_knows(device: str) -> None:
    with pytest.raises(OptionError, match="expected auto, cpu"):
        validate_options(GreyOptions, {"device": device}, "renderer 'grey'")
