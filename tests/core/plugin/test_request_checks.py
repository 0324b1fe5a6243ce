from __future__ import annotations

import math
from dataclasses import replace

import pytest

from threedis_core.errors import LayoutError, OptionError
from threedis_core.plugin.interfaces import Capabilities, RenderRequest
from threedis_core.plugin.request_checks import check_instance_loras, check_request
from threedis_core.testing import sample_depth, sample_layout, sample_request
from threedis_core.values.layout import Layout
from threedis_core.values.regions import Regions
from threedis_core.values.schedule import ControlSchedule, StepRange

LIMITS = Capabilities(size_multiple=16, max_instances=3, controls=frozenset({"regions"}))


def request(instances: int = 2, **changes: object) -> RenderRequest:
    fields = vars(sample_request(instances)) | changes
    return RenderRequest(**fields)


def test_a_request_that_fits_passes() -> None:
    check_request(request(), LIMITS, "fake")
    control = ControlSchedule({"regions": StepRange.first(3)})
    check_request(request(3, steps=1, guidance=0.0, control=control), LIMITS, "fake")
    check_request(request(0), LIMITS, "fake")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 70}, "width is 70, but renderer 'fake' needs multiples of 16; use 64"),
        ({"height": 3}, "height is 3, .*; use 16"),
        ({"height": 0}, r"64x0 pixels; expected 1 to 16384"),
        ({"width": 32768}, "32768x64 pixels"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is 9223372036854775808"),
        ({"seed": "3"}, "seed is '3'; expected a whole number"),
        ({"width": 64.5}, "64.5x64 pixels; expected whole numbers"),
        ({"height": "64"}, "64x64 pixels; expected whole numbers"),
        ({"regions": None}, r"type NoneType as regions; .* use Regions\.from_layout\("),
        ({"depth": [[0.0]]}, r"type list as depth; expected DepthMap: use DepthMap\.load"),
        ({"layout": "a.yaml"}, r"type str as layout; expected Layout: use read_layout\(file\)"),
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"guidance": -1.0}, "guidance is -1.0"),
        ({"guidance": math.nan}, "guidance is nan"),
        ({"guidance": math.inf}, "guidance is inf"),
        (
            {"control": ControlSchedule({"region": StepRange()})},
            r"Unknown control 'region' for renderer 'fake'. .* Did you mean 'regions'\?",
        ),
    ],
)
def test_a_wrong_value_is_refused(changes, message) -> None:
    with pytest.raises(OptionError, match=message):
        check_request(request(**changes), LIMITS, "fake")


SMALL = Capabilities(size_multiple=16, default_size=(64, 64), max_size=(128, 96), min_steps=4)
LISTED = Capabilities(sizes=((64, 64), (96, 48), (48, 96)), default_size=(64, 64))


@pytest.mark.parametrize(
    ("able", "changes", "message"),
    [
        (SMALL, {"width": 144}, "width is 144, but renderer 'fake' needs at most 128; use 128"),
        (SMALL, {"height": 112}, "height is 112, .* at most 96; use 96"),
        (SMALL, {"width": 200}, "width is 200, .* multiples of 16; use 128"),
        (SMALL, {"steps": 3}, "steps is 3; expected at least 4 by renderer 'fake'"),
        (replace(SMALL, default_steps=2), {}, "steps is 2; expected at least 4"),
        (LISTED, {"width": 80}, "80x64, but renderer 'fake' draws 64x64, 96x48, 48x96 only; .*64"),
        (LISTED, {"width": 90, "height": 44}, "use 96x48"),
    ],
)
def test_a_size_or_a_step_count_that_the_backend_lacks_is_refused(able, changes, message) -> None:
    with pytest.raises(OptionError, match=message):
        check_request(request(**changes), able, "fake")


def test_the_largest_the_listed_and_the_fewest_pass() -> None:
    check_request(request(width=128, height=96, steps=4), SMALL, "fake")
    check_request(request(width=96, height=48), LISTED, "fake")


def test_too_many_instances_are_refused() -> None:
    with pytest.raises(LayoutError, match="4 instances, but renderer 'fake' takes at most 3"):
        check_request(request(4), LIMITS, "fake")


def test_regions_of_another_layout_are_refused() -> None:
    regions = Regions.from_layout(sample_layout(1), 64, 64)
    with pytest.raises(LayoutError, match="1 regions for 2 instances"):
        check_request(request(regions=regions), LIMITS, "fake")


def test_depth_of_another_size_is_fine() -> None:
    check_request(request(depth=sample_depth(sample_layout(2), 9, 7)), LIMITS, "fake")


def test_loras_that_a_renderer_does_not_have_are_refused() -> None:
    instance = {"prompt": "a cube", "box": [0, 0, 1, 1], "loras": ["gold"]}
    layout = Layout.from_dict({"prompt": "a room", "instances": [instance]})
    check_instance_loras(layout, Capabilities(instance_loras=frozenset({"gold"})), "mine")
    with pytest.raises(LayoutError, match=r"instances\[0\].*'gold'.*confine no LoRA"):
        check_instance_loras(layout, Capabilities(), "mine")
    known = Capabilities(instance_loras=frozenset({"golden"}))
    with pytest.raises(LayoutError, match=r"has golden\. Did you mean 'golden'.*--set 'mine\."):
        check_instance_loras(layout, known, "mine")
