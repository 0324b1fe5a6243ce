"""They render something else than what a request says: each changes requests on their way in.

The renderer behind is right, a ``Toy``, so that what fails is what was changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from threedis_core.plugin.interfaces import Capabilities, RenderRequest, RenderResult
from threedis_core.plugin.progress import silent
from threedis_core.testing.fakes import Pixels, active_controls, colour_of
from threedis_core.values.box import Box
from threedis_core.values.depth import DepthMap
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange
from wrong_renderers.fakes import HookedFake, with_changes

CONTROLS = frozenset({"regions", "shade"})
Change = Callable[[RenderRequest], RenderRequest]


class Toy(HookedFake):
    """A fake with guidance, and a second control that darkens what lies in regions."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            default_size=(64, 64), default_steps=3, default_guidance=1.5, controls=CONTROLS
        )

    def target(self, request: RenderRequest, step: int) -> Pixels:
        if request.control is None:
            request = with_changes(request, control=all_on())
        drawn = super().target(request, step)
        if "shade" in active_controls(request, step):
            inside = request.regions.pixel_masks(request.height, request.width).any(0)
            drawn[inside] *= 0.8
        guidance = 1.5 if request.guidance is None else request.guidance
        return drawn + 0.05 * (guidance - 1.5) * colour_of(request.layout.prompt)


def all_on(start: int = 0, stop: int | None = None) -> ControlSchedule:
    return ControlSchedule(dict.fromkeys(CONTROLS, StepRange(start, stop)))


def changing(change: Callable[[Sequence[RenderRequest]], list[RenderRequest]]) -> type[Toy]:
    """A renderer that changes the requests of a call before it serves them."""

    class Changing(Toy):
        def render(self, requests: Any, progress: Any = silent) -> list[RenderResult]:
            return super().render(change(requests), progress)

    return Changing


def each(change: Change) -> type[Toy]:
    """A renderer that changes every request on its own."""
    return changing(lambda requests: [change(request) for request in requests])


def kept(key: Callable[[RenderRequest], object], *names: str) -> type[Toy]:
    """A renderer that keeps ``names`` of the first request with a key, and uses them again."""

    class Keeping(Toy):
        def render(self, requests: Any, progress: Any = silent) -> list[RenderResult]:
            if not hasattr(self, "first"):
                self.first: dict[object, RenderRequest] = {}
            used = [self.first.setdefault(key(one), one) for one in requests]
            both = zip(requests, used, strict=True)
            given = [with_changes(one, **{n: getattr(old, n) for n in names}) for one, old in both]
            return super().render(given, progress)

    return Keeping


def with_layout(request: RenderRequest, **changes: Any) -> RenderRequest:
    return with_changes(request, layout=request.layout.model_copy(update=changes))


def saying(prompt: Callable[[Layout, int], str]) -> type[Toy]:
    """A renderer that gives each instance the prompt that a function says."""

    def change(request: RenderRequest) -> RenderRequest:
        layout = request.layout
        instances = [
            one.model_copy(update={"prompt": prompt(layout, index)})
            for index, one in enumerate(layout.instances)
        ]
        return with_layout(request, instances=tuple(instances))

    return each(change)


def heard(which: Callable[[int, int], bool]) -> type[Toy]:
    """A renderer that leaves out the instances of which it is not ``which(index, of)``."""

    def change(request: RenderRequest) -> RenderRequest:
        count, regions = len(request.regions), request.regions
        some = [index for index in range(count) if which(index, count)]
        layout = request.layout
        return with_changes(
            with_layout(request, instances=tuple(layout.instances[index] for index in some)),
            regions=Regions(
                tuple(regions.boxes[index] for index in some),
                tuple(regions.masks[index] for index in some),
                *(regions.height, regions.width),
            ),
        )

    return each(change)


def placed(place: Callable[[np.ndarray], np.ndarray]) -> type[Toy]:
    """A renderer that turns all masks, shape (N, H, W), into others."""

    def change(request: RenderRequest) -> RenderRequest:
        size = request.height, request.width
        masks = place(request.regions.pixel_masks(*size).astype(np.bool_))
        boxes = request.regions.boxes
        return with_changes(request, regions=Regions(boxes, tuple(masks.copy()), *size))

    return each(change)


def boxes_of_the_layout(request: RenderRequest) -> RenderRequest:
    layout, size = request.layout, (request.height, request.width)
    boxes = tuple(one.box for one in layout.instances)
    return with_changes(request, regions=Regions(boxes, (None,) * len(boxes), *size))


def boxes_of_the_regions(request: RenderRequest) -> RenderRequest:
    boxes = request.regions.boxes
    plain = Regions(boxes, (None,) * len(boxes), request.height, request.width)
    return with_changes(request, regions=plain)


def whole_picture(request: RenderRequest) -> RenderRequest:
    boxes = (Box.from_xyxy((0, 0, 1, 1)),) * len(request.regions)
    masks = (None,) * len(boxes)
    return with_changes(request, regions=Regions(boxes, masks, request.height, request.width))


def joined(request: RenderRequest) -> RenderRequest:
    texts = [request.layout.prompt, *(one.prompt for one in request.layout.instances)]
    return with_layout(request, prompt=", ".join(texts))


def any_is_all(request: RenderRequest) -> RenderRequest:
    """Every control has the range of the first one."""
    ranges = request.control and list(request.control.ranges.values())
    return (
        with_changes(request, control=all_on(ranges[0].start, ranges[0].stop))
        if ranges
        else request
    )


def steps_moved(by: int) -> Change:
    """The step is set too late, or too early."""

    def change(request: RenderRequest) -> RenderRequest:
        if request.control is None:
            return request
        ranges = {
            name: StepRange(
                max(0, steps.start + by) if steps.start else 0,
                None if steps.stop is None else max(0, steps.stop + by),
            )
            for name, steps in request.control.ranges.items()
        }
        return with_changes(request, control=ControlSchedule(ranges))

    return change


def step_never_set(request: RenderRequest) -> RenderRequest:
    """It is the first step for ever."""
    if request.control is None:
        return request
    on = request.control.active(0)
    return with_changes(request, control=ControlSchedule(dict.fromkeys(on, StepRange())))


def always_on(request: RenderRequest) -> RenderRequest:
    return with_changes(request, control=None)


def one_regions_for_all(requests: Sequence[RenderRequest]) -> list[RenderRequest]:
    """The first request's regions, as far as they go, for every request of a batch."""

    def cut(request: RenderRequest) -> Regions:
        first, own = requests[0].regions, request.regions
        count = min(len(first), len(own))
        masks = (*first.masks[:count], *own.masks[count:])
        boxes = (*first.boxes[:count], *own.boxes[count:])
        fit = all(mask is None or mask.shape == (own.height, own.width) for mask in masks)
        return Regions(boxes, masks if fit else own.masks, own.height, own.width)

    return [with_changes(request, regions=cut(request)) for request in requests]


def first_layout(requests: Sequence[RenderRequest]) -> list[RenderRequest]:
    first = requests[0]
    return [with_changes(one, layout=first.layout, regions=first.regions) for one in requests]


def equal_counts_share(requests: Sequence[RenderRequest]) -> list[RenderRequest]:
    """Requests of a batch with as many instances get the first one's regions."""
    first: dict[int, RenderRequest] = {}
    return [
        with_changes(one, regions=first.setdefault(len(one.regions), one).regions)
        for one in requests
    ]


def prompts_of_the_first(requests: Sequence[RenderRequest]) -> list[RenderRequest]:
    return [with_layout(one, prompt=requests[0].layout.prompt) for one in requests]


def neighbours_texts(requests: Sequence[RenderRequest]) -> list[RenderRequest]:
    """Rows of a batch that are off by one: each reads the texts of the one before."""
    before = [requests[-1], *requests[:-1]]
    return [
        with_changes(one, layout=other.layout) if len(one.regions) == len(other.regions) else one
        for one, other in zip(requests, before, strict=True)
    ]


def count(request: RenderRequest) -> int:
    return len(request.regions)


def texts(request: RenderRequest) -> object:
    return request.layout.prompt, len(request.regions)


def always(request: RenderRequest) -> int:
    return 0


BOXES = "test_each_instances_prompt_changes_its_own_region_most"
MASKS = "test_each_instances_prompt_changes_its_own_mask_most"
MANY = "test_the_last_of_many_instances_is_heard"
BATCH = "test_a_picture_of_a_batch_is_the_one_it_gives_alone"
EQUAL = "test_a_batch_keeps_requests_of_as_many_instances_apart"
UNEQUAL = "test_a_batch_keeps_requests_of_more_and_fewer_instances_apart"
BEFORE = "test_a_picture_is_the_same_whatever_was_rendered_before"
OFF = "test_instances_change_nothing_where_all_controls_are_off"
SCHEDULE = "test_a_control_is_on_at_the_steps_that_its_schedule_says"
OF_ITS_OWN = "test_each_control_has_an_effect_of_its_own"

WRONG: list[tuple[str, type[Toy], str]] = [
    ("regions swapped", placed(lambda masks: masks[::-1]), BOXES),
    ("regions rotated", placed(lambda masks: np.roll(masks, 1, 0)), BOXES),
    ("regions mirrored", placed(lambda masks: masks[:, :, ::-1]), BOXES),
    ("regions upside down", placed(lambda masks: masks[:, ::-1]), BOXES),
    ("regions transposed", placed(lambda masks: masks.transpose(0, 2, 1)), BOXES),
    ("masks mirrored", placed(lambda masks: masks[:, :, ::-1]), MASKS),
    ("regions inverted", placed(lambda masks: ~masks), BOXES),
    ("regions everywhere", each(whole_picture), BOXES),
    ("the layout's boxes", each(boxes_of_the_layout), BOXES),
    ("the layout's boxes, not masks", each(boxes_of_the_layout), MASKS),
    ("boxes of the regions, not masks", each(boxes_of_the_regions), MASKS),
    ("the first instance only", heard(lambda index, of: index == 0), BOXES),
    ("the last instance only", heard(lambda index, of: index == of - 1), BOXES),
    ("three instances", heard(lambda index, of: index < 3), BOXES),
    ("eight instances", heard(lambda index, of: index < 8), MANY),
    ("the global prompt for all", saying(lambda layout, index: layout.prompt), BOXES),
    ("the first prompt for all", saying(lambda layout, i: layout.instances[0].prompt), BOXES),
    ("prompts backwards", saying(lambda layout, i: layout.instances[-1 - i].prompt), BOXES),
    ("texts joined to the global prompt", each(joined), OFF),
    ("regions cached by count", kept(count, "regions"), BEFORE),
    ("texts cached by count", kept(count, "layout"), BEFORE),
    ("texts cached by the global prompt", kept(texts, "layout"), BEFORE),
    ("the first schedule kept", kept(always, "control"), BEFORE),
    ("the first guidance kept", kept(always, "guidance"), BEFORE),
    ("the first steps kept", kept(always, "steps"), BEFORE),
    ("the first depth kept", kept(always, "depth"), BEFORE),
    ("the first seed kept", kept(always, "seed"), BEFORE),
    ("one request's regions for a batch", changing(one_regions_for_all), EQUAL),
    ("one request's regions, other counts", changing(one_regions_for_all), UNEQUAL),
    ("the first layout for a batch", changing(first_layout), BATCH),
    ("regions shared by equal counts", changing(equal_counts_share), EQUAL),
    ("one global prompt for a batch", changing(prompts_of_the_first), EQUAL),
    ("rows of a batch off by one", changing(neighbours_texts), EQUAL),
    ("any control acts like all", each(any_is_all), OF_ITS_OWN),
    ("controls always on", each(always_on), SCHEDULE),
    ("the step never set", each(step_never_set), SCHEDULE),
    ("the step a step late", each(steps_moved(1)), SCHEDULE),
    ("the step a step early", each(steps_moved(-1)), SCHEDULE),
    (
        "controls never on",
        each(lambda one: with_changes(one, control=ControlSchedule())),
        "test_the_controls_have_an_effect",
    ),
    (
        "the prompt ignored",
        each(lambda one: with_layout(one, prompt="a picture")),
        "test_the_prompt_has_an_effect",
    ),
    (
        "the negative prompt ignored",
        each(lambda one: with_layout(one, negative_prompt="")),
        "test_the_negative_prompt_has_an_effect_where_there_is_one",
    ),
    (
        "guidance ignored",
        each(lambda one: with_changes(one, guidance=None)),
        "test_the_guidance_of_a_request_has_an_effect",
    ),
    (
        "steps ignored",
        each(lambda one: with_changes(one, steps=None)),
        "test_the_steps_of_a_request_have_an_effect",
    ),
    (
        "depth ignored",
        each(lambda one: with_changes(one, depth=flat(one.depth))),
        "test_the_depth_has_an_effect",
    ),
    (
        "depth cut, not resized",
        each(lambda one: with_changes(one, depth=cut(one))),
        "test_a_depth_map_of_another_size_is_resized",
    ),
]


def flat(depth: DepthMap) -> DepthMap:
    return DepthMap(np.full_like(depth.values, 0.5))


def cut(request: RenderRequest) -> DepthMap:
    """The depth map's upper left corner, with nothing around it."""
    values = np.zeros((request.height, request.width), np.float32)
    given = request.depth.values[: request.height, : request.width]
    values[: given.shape[0], : given.shape[1]] = given
    return DepthMap(values)
